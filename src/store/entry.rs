//! From the name of an archive's entry to a path in the package.
//!
//! `./` in front and `/` behind are how tar and zip write their entries; everything else must be a [`PackagePath`]
//! already. What macOS adds for itself is passed over.

use super::archive::{ArchiveError, shown};
use crate::package::{PackagePath, PathError};

/// The path that an entry is unpacked to; `None` for the package's top directory itself and for what macOS' Finder
/// adds (`__MACOSX/`, `.DS_Store`, `._name`), which holds nothing of the model.
pub(super) fn path_of(name: &[u8]) -> Result<Option<PackagePath>, ArchiveError> {
    let text = std::str::from_utf8(name)
        .map_err(|_| ArchiveError::Feature { entry: shown(name), feature: "a name that is not UTF-8" })?;
    let mut inner = text;
    while let Some(rest) = inner.strip_prefix("./") {
        inner = rest;
    }
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    // "/" alone is not the top directory but the root of the file system.
    if (inner.is_empty() && text != "/" && !text.is_empty()) || inner == "." {
        return Ok(None);
    }
    let path: PackagePath =
        inner.parse().map_err(|source: PathError| ArchiveError::Path { entry: shown(name), source })?;
    Ok((!is_shadow(&path)).then_some(path))
}

fn is_shadow(path: &PackagePath) -> bool {
    let mut parts = path.as_str().split('/');
    let last = path.as_str().rsplit('/').next().unwrap_or_default();
    parts.next() == Some("__MACOSX") || last == ".DS_Store" || last.starts_with("._")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(name: &str) -> Option<String> {
        path_of(name.as_bytes()).unwrap().map(|path| path.to_string())
    }

    #[test]
    fn names_as_tar_and_zip_write_them_become_paths() {
        assert_eq!(path("./model/some.file").as_deref(), Some("model/some.file"));
        assert_eq!(path("model/").as_deref(), Some("model"));
        assert_eq!(path("synset.txt").as_deref(), Some("synset.txt"));
        for top in [".", "./", "././"] {
            assert_eq!(path(top), None, "{top}");
        }
        for shadow in ["__MACOSX/model/._a", ".DS_Store", "model/.DS_Store", "model/._synset.txt"] {
            assert_eq!(path(shadow), None, "{shadow}");
        }
    }

    #[test]
    fn names_that_reach_outside_are_refused() {
        let hostile =
            ["/etc/passwd", "../x", "a/../../x", "a/..", "..", "/", "//x", "a//b", "a\\..\\b", "C:\\x", "a\0b", ""];
        for name in hostile {
            assert!(path_of(name.as_bytes()).is_err(), "{name:?}");
        }
        assert!(path_of(b"\xff\xfe").is_err());
    }

    proptest! {
        #[test]
        fn whatever_the_name_its_path_stays_inside(name in proptest::collection::vec(prop_oneof![
            Just(b'/'), Just(b'.'), Just(b'\\'), Just(b'a'), any::<u8>()
        ], 0..40)) {
            if let Ok(Some(path)) = path_of(&name) {
                let joined = std::path::Path::new("/top").join(path.as_str());
                prop_assert!(joined.starts_with("/top"));
                let parts: Vec<_> = joined.components().collect();
                prop_assert!(parts.iter().skip(1).all(|part| matches!(part, std::path::Component::Normal(_))));
            }
        }
    }
}
