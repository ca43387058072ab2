//! Whether a function without a container, which has the host's paths, can get to its code.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use margay_sandbox::Account;

/// Whether `account` may enter each of `folders` by the modes of what lies above them; the first that it may not.
pub(super) fn check(folders: &[&Path], account: Account) -> Result<(), String> {
    let all = folders.iter().flat_map(|folder| folder.ancestors());
    let Some(closed) = all.into_iter().find(|folder| !is_open(folder, account)) else { return Ok(()) };
    Err(format!(
        "without a container it runs by the host's paths, and its user {} may not enter {}: chmod o+x it, or run it in a \
         GreengrassContainer",
        account.uid,
        closed.display()
    ))
}

fn is_open(folder: &Path, account: Account) -> bool {
    // What is not there is missed elsewhere.
    let Ok(found) = fs::metadata(folder) else { return true };
    let right = match () {
        () if found.uid() == account.uid => 0o100,
        () if found.gid() == account.gid => 0o010,
        () => 0o001,
    };
    found.mode() & right != 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_folder_that_cannot_be_entered_is_named() {
        let top = tempfile::tempdir().unwrap();
        let (closed, inner) = (top.path().join("closed"), top.path().join("closed/code"));
        fs::create_dir_all(&inner).unwrap();
        fs::set_permissions(top.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        let stranger = Account { uid: 12_345, gid: 12_345 };
        let why = check(&[&inner], stranger).unwrap_err();
        assert!(why.contains(&closed.display().to_string()) && why.contains("12345"), "{why}");
        let owner = fs::metadata(&closed).unwrap();
        assert_eq!(check(&[&inner], Account { uid: owner.uid(), gid: owner.gid() }), Ok(()));
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o711)).unwrap();
        assert_eq!(check(&[&inner], stranger), Ok(()));
    }
}
