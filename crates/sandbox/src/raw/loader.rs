//! The shared libraries of the running program, by the names its loader used.

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The absolute paths of the loaded libraries and of the dynamic loader; empty for a static program.
///
/// These are the names that the loader found them by (`libc.so.6`), not those of the files behind symbolic links
/// (`libc-2.31.so`), which `/proc/self/maps` would show.
pub(crate) fn loaded_objects() -> Vec<PathBuf> {
    let mut objects: Vec<PathBuf> = Vec::new();
    // SAFETY: the callback is given the vector's address back for as long as this call lasts, and nothing else uses the
    // vector meanwhile.
    unsafe { libc::dl_iterate_phdr(Some(collect), (&raw mut objects).cast()) };
    objects
}

unsafe extern "C" fn collect(
    info: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    data: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: dl_iterate_phdr passes a valid description and the pointer that loaded_objects gave it.
    let (name, objects) = unsafe { ((*info).dlpi_name, &mut *data.cast::<Vec<PathBuf>>()) };
    if !name.is_null() {
        // SAFETY: a zero-terminated string that belongs to the loader and lives as long as the library.
        let name = unsafe { CStr::from_ptr(name) };
        // The program itself has an empty name and the kernel's vDSO one without a folder.
        if name.to_bytes().starts_with(b"/") {
            objects.push(PathBuf::from(OsStr::from_bytes(name.to_bytes())));
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loaded_library_exists_under_its_name() {
        let objects = loaded_objects();
        assert!(objects.iter().all(|path| path.is_absolute() && path.exists()), "{objects:?}");
        if cfg!(target_env = "gnu") {
            let named = |part: &str| objects.iter().any(|path| path.to_string_lossy().contains(part));
            assert!(named("libc.so") && named("ld-linux"), "{objects:?}");
        }
    }
}
