//! The pictures of a folder that a model is quantised or tried by: found in sorted order, taken evenly from all of it.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use margay_inference::Labels;

use crate::classifier::one_shot::MAX_PICTURE;

/// The most entries of a folder, with all that is below it, that are looked at.
const MAX_ENTRIES: usize = 1_000_000;

/// How many folders deep pictures may lie.
const MAX_DEPTH: usize = 8;

/// Ends of the names of pictures that are read.
const ENDS: [&str; 4] = ["jpg", "jpeg", "png", "bmp"];

/// Why a folder gives no pictures.
#[derive(Debug, thiserror::Error)]
pub enum PicturesError {
    /// A folder cannot be read.
    #[error("reading the folder {}", path.display())]
    Read {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// There is too much in it.
    #[error("{} holds more than {MAX_ENTRIES} files and folders: name one that holds the pictures only", path.display())]
    TooMany {
        /// The folder.
        path: PathBuf,
    },
}

/// The pictures of a folder and of the folders in it, by name; links to folders are not followed.
///
/// # Errors
/// [`PicturesError`].
pub fn find(folder: &Path) -> Result<Vec<PathBuf>, PicturesError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| PicturesError::Read { path, source }
    };
    let (mut pictures, mut folders, mut entries) = (Vec::new(), vec![(folder.to_owned(), 0)], 0);
    while let Some((at, depth)) = folders.pop() {
        for entry in fs::read_dir(&at).map_err(failed(&at))? {
            let entry = entry.map_err(failed(&at))?;
            entries += 1;
            if entries > MAX_ENTRIES {
                return Err(PicturesError::TooMany { path: folder.to_owned() });
            }
            let path = entry.path();
            if entry.file_type().map_err(failed(&path))?.is_dir() {
                folders.extend((depth < MAX_DEPTH).then_some((path, depth + 1)));
            } else if is_picture(&path) && path.is_file() {
                pictures.push(path);
            }
        }
    }
    pictures.sort();
    Ok(pictures)
}

fn is_picture(path: &Path) -> bool {
    let end = path.extension().and_then(|end| end.to_str()).map(str::to_lowercase);
    end.is_some_and(|end| ENDS.contains(&end.as_str()))
}

/// At most `count` of the pictures, evenly from the first to the last, so that each folder has its share.
#[must_use]
pub fn spread(pictures: Vec<PathBuf>, count: usize) -> Vec<PathBuf> {
    let all = pictures.len();
    if all <= count {
        return pictures;
    }
    (0..count).map(|place| pictures[place * all / count].clone()).collect()
}

/// A picture's bytes, within their limit.
pub(super) fn read(picture: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = fs::File::open(picture).map_err(|error| error.to_string())?;
    file.take(MAX_PICTURE + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_PICTURE {
        return Err(format!("it is over the limit of {MAX_PICTURE} bytes"));
    }
    Ok(bytes)
}

/// The class that a picture's folder is named after, if it is.
#[must_use]
pub fn class_of(picture: &Path, labels: &Labels) -> Option<u32> {
    let folder = plain(picture.parent()?.file_name()?.to_str()?);
    let is_named = |label: &str| plain(label) == folder || label.split(',').any(|part| plain(part) == folder);
    labels.iter().position(is_named).and_then(|class| u32::try_from(class).ok())
}

/// Words in small letters, apart by single spaces, whatever was between them.
fn plain(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || "-_".contains(c)).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_found_below_folders_in_order_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b/2.JPG", "a/1.png", "c.bmp", "notes.txt", "a/deep/3.jpeg"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        std::os::unix::fs::symlink(folder.path(), folder.path().join("again")).unwrap();
        let found = find(folder.path()).unwrap();
        let names: Vec<_> =
            found.iter().map(|path| path.strip_prefix(folder.path()).unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["a/1.png", "a/deep/3.jpeg", "b/2.JPG", "c.bmp"]);
        let error = find(&folder.path().join("missing")).unwrap_err().to_string();
        assert!(error.contains("missing"), "{error}");
    }

    #[test]
    fn a_choice_takes_its_share_from_everywhere() {
        let all: Vec<PathBuf> = (0..10).map(|n| PathBuf::from(format!("{n}"))).collect();
        assert_eq!(spread(all.clone(), 20), all);
        let names: Vec<_> = spread(all, 5).iter().map(|path| path.to_str().unwrap().to_owned()).collect();
        assert_eq!(names, ["0", "2", "4", "6", "8"]);
    }

    #[test]
    fn a_folder_named_after_a_label_tells_the_class() {
        let labels = Labels::new(["stop", "speed limit 30", "tench, Tinca tinca"]).unwrap();
        let class = |path: &str| class_of(Path::new(path), &labels);
        assert_eq!(class("/x/Speed_Limit-30/1.jpg"), Some(1));
        assert_eq!((class("/x/tinca tinca/1.jpg"), class("/x/frames/1.jpg")), (Some(2), None));
    }
}
