//! Which files of a folder are images by their names, and in which order they come.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::config::FolderOrder;
use super::error::SourceError;
use super::glob::NamePattern;
use super::limits::MOST_ITEMS;
use super::still;
use crate::picture::PictureFormat;

/// The endings that image files have, in small letters.
const ENDINGS: [&str; 4] = ["jpg", "jpeg", "png", "bmp"];

/// Lists the image files of `folder`, as a [`super::FolderSource`] delivers them: an item's number is its place here. Where
/// they are shuffled, this is the order in which they are numbered, by name.
///
/// # Errors
/// [`SourceError`] where the folder is not there, cannot be listed, or holds more than [`MOST_ITEMS`].
pub fn images_in(
    folder: &Path,
    order: FolderOrder,
    pattern: Option<&NamePattern>,
) -> Result<Vec<PathBuf>, SourceError> {
    let unreadable = |source: io::Error| SourceError::unreadable(folder, "folder", source);
    if is_picture(folder) {
        return Ok(vec![folder.to_owned()]);
    }
    let mut images = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if !is_image(&path) || !pattern.is_none_or(|pattern| pattern.matches(name_of(&path))) {
            continue;
        }
        if images.len() == MOST_ITEMS {
            return Err(SourceError::TooManyItems { path: folder.into(), most: MOST_ITEMS });
        }
        images.push(path);
    }
    match order {
        FolderOrder::Natural | FolderOrder::Shuffled { .. } => images.sort_by(|left, right| by_name(left, right)),
        FolderOrder::Modified => images = by_time(images),
    }
    Ok(images)
}

fn is_image(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.as_bytes().starts_with(b"."));
    let ending = path.extension().and_then(OsStr::to_str);
    !hidden && ending.is_some_and(|ending| ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(ending)))
}

/// Whether this is a file, and begins as pictures do: its name may be another here than where it lies.
fn is_picture(path: &Path) -> bool {
    let mut beginning = [0; 8];
    let read = |still::Opened { mut file, .. }| io::Read::read(&mut file, &mut beginning).ok();
    let length = still::open(path).ok().and_then(read).unwrap_or(0);
    PictureFormat::of(&beginning[..length]).is_some()
}

/// Files by the time of their last change; one that is gone already comes first and is skipped when it is read.
fn by_time(images: Vec<PathBuf>) -> Vec<PathBuf> {
    let modified = |path: &PathBuf| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let mut images: Vec<(Option<SystemTime>, PathBuf)> =
        images.into_iter().map(|path| (modified(&path), path)).collect();
    images.sort_by(|(time, name), (other_time, other)| time.cmp(other_time).then_with(|| by_name(name, other)));
    images.into_iter().map(|(_, path)| path).collect()
}

fn by_name(left: &Path, right: &Path) -> Ordering {
    natural(name_of(left), name_of(right))
}

fn name_of(path: &Path) -> &[u8] {
    path.file_name().unwrap_or_default().as_bytes()
}

/// Compares names piece by piece: digits by their value, anything else byte by byte. Names that differ only in leading
/// zeros are told apart by their bytes, so that the order is the same every time.
fn natural(left: &[u8], right: &[u8]) -> Ordering {
    let (mut rest, mut other) = (left, right);
    while !rest.is_empty() && !other.is_empty() {
        let (piece, piece_end) = piece(rest);
        let (other_piece, other_end) = self::piece(other);
        let order = match (piece[0].is_ascii_digit(), other_piece[0].is_ascii_digit()) {
            (true, true) => by_value(piece, other_piece),
            _ => piece.cmp(other_piece),
        };
        if order.is_ne() {
            return order;
        }
        (rest, other) = (piece_end, other_end);
    }
    rest.len().cmp(&other.len()).then_with(|| left.cmp(right))
}

/// Splits off the digits, or what is not digits, that a name begins with. The name is not empty.
fn piece(name: &[u8]) -> (&[u8], &[u8]) {
    let digits = name[0].is_ascii_digit();
    let end = name.iter().position(|byte| byte.is_ascii_digit() != digits).unwrap_or(name.len());
    name.split_at(end)
}

/// Compares numbers of any length.
fn by_value(left: &[u8], right: &[u8]) -> Ordering {
    let [left, right] = [left, right].map(|digits| {
        let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
        &digits[zeros..]
    });
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_in_names_count_by_their_value() {
        let mut names =
            ["b", "a10.jpg", "a2.jpg", "a02.jpg", "a2b1.jpg", "a", "10", "9", "a99999999999999999999999.jpg"];
        names.sort_by(|left, right| natural(left.as_bytes(), right.as_bytes()));
        assert_eq!(
            names,
            ["9", "10", "a", "a02.jpg", "a2.jpg", "a2b1.jpg", "a10.jpg", "a99999999999999999999999.jpg", "b"]
        );
    }

    #[test]
    fn only_images_that_are_not_hidden_are_listed() {
        for (name, listed) in [
            ("/x/a.jpg", true),
            ("/x/a.JPEG", true),
            ("/x/a.b.Png", true),
            ("/x/a.bmp", true),
            ("/x/.a.jpg", false),
            ("/x/.jpg", false),
            ("/x/jpg", false),
            ("/x/a.jpg.part", false),
            ("/x/labels.txt", false),
        ] {
            assert_eq!(is_image(Path::new(name)), listed, "{name}");
        }
    }

    proptest! {
        #[test]
        fn the_order_of_names_is_an_order(names in prop::collection::vec("[ab0-2]{0,5}", 3)) {
            let compare = |left: usize, right: usize| natural(names[left].as_bytes(), names[right].as_bytes());
            prop_assert_eq!(compare(0, 1), compare(1, 0).reverse());
            prop_assert_eq!(compare(0, 1).is_eq(), names[0] == names[1]);
            if compare(0, 1).is_le() && compare(1, 2).is_le() {
                prop_assert!(compare(0, 2).is_le());
            }
        }
    }
}
