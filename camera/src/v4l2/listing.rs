//! Which cameras this machine has.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::camera::Camera;
use super::error::CameraError;
use super::identity::Identity;
use super::offer::{FormatOffer, text};

/// More nodes than any machine has.
const MOST_NODES: usize = 256;

/// Where nodes and their names are.
#[derive(Debug, Clone)]
pub struct Places {
    /// `/dev`.
    pub devices: PathBuf,
    /// `/sys/class/video4linux`.
    pub classes: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self { devices: "/dev".into(), classes: "/sys/class/video4linux".into() }
    }
}

/// A device node called `video…`, before it is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The node.
    pub path: PathBuf,
    /// Links to it that keep their names when cameras come and go: by what it is, then by where it is plugged in.
    pub links: Vec<PathBuf>,
    /// The name that the kernel gives it, which anybody may read.
    pub name: Option<String>,
}

impl Found {
    /// Opens the node for a look ([`Camera::look`]).
    ///
    /// # Errors
    /// [`CameraError`].
    pub fn look(&self) -> Result<(Identity, Vec<FormatOffer>), CameraError> {
        Camera::look(&self.path)
    }
}

/// Every node called `video` and a number, in the order of the numbers.
///
/// # Errors
/// The folder of devices cannot be listed.
pub fn nodes(places: &Places) -> io::Result<Vec<Found>> {
    let mut numbers: Vec<u32> = fs::read_dir(&places.devices)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix("video")?.parse().ok())
        .take(MOST_NODES)
        .collect();
    numbers.sort_unstable();
    let links = [links(places, "by-id"), links(places, "by-path")].concat();
    Ok(numbers.into_iter().map(|number| node(places, &links, number)).collect())
}

fn node(places: &Places, links: &[(PathBuf, String)], number: u32) -> Found {
    let file = format!("video{number}");
    let name = fs::read(places.classes.join(&file).join("name")).ok().map(|name| text(&name));
    let links = links.iter().filter(|(_, target)| *target == file).map(|(link, _)| link.clone()).collect();
    Found { path: places.devices.join(&file), links, name: name.filter(|name| !name.is_empty()) }
}

/// The links of one folder that udev keeps, with the names of the nodes they lead to; none where there is no udev.
fn links(places: &Places, folder: &str) -> Vec<(PathBuf, String)> {
    let folder = places.devices.join("v4l").join(folder);
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut links: Vec<(PathBuf, String)> = entries
        .take(MOST_NODES)
        .filter_map(|entry| {
            let link = entry.ok()?.path();
            let target = fs::read_link(&link).ok()?;
            Some((link, file_name(&target)?))
        })
        .collect();
    links.sort();
    links
}

fn file_name(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn nodes_come_by_number_with_their_names_and_lasting_links() {
        let root = TempDir::new().unwrap();
        let places = Places { devices: root.path().join("dev"), classes: root.path().join("class") };
        for folder in ["dev/v4l/by-id", "dev/v4l/by-path", "class/video2"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        for file in ["video10", "video2", "vbi0", "videodev", "video"] {
            fs::write(places.devices.join(file), "").unwrap();
        }
        fs::write(places.classes.join("video2/name"), "HD Webcam\n").unwrap();
        let by_id = places.devices.join("v4l/by-id/usb-HD_Webcam-video-index0");
        let by_path = places.devices.join("v4l/by-path/usb-0:1.3-video-index0");
        symlink("../../video2", &by_id).unwrap();
        symlink("../../video2", &by_path).unwrap();
        let found = nodes(&places).unwrap();
        let expected = [
            Found {
                path: places.devices.join("video2"),
                links: vec![by_id, by_path],
                name: Some("HD Webcam".to_owned()),
            },
            Found { path: places.devices.join("video10"), links: Vec::new(), name: None },
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_machine_without_cameras_has_none() {
        let root = TempDir::new().unwrap();
        let places = Places { devices: root.path().into(), classes: root.path().join("none") };
        assert_eq!(nodes(&places).unwrap(), []);
    }

    #[test]
    fn a_file_that_is_called_like_a_camera_is_none() {
        let root = TempDir::new().unwrap();
        fs::write(root.path().join("video0"), "").unwrap();
        let places = Places { devices: root.path().into(), classes: root.path().join("none") };
        let error = nodes(&places).unwrap()[0].look().unwrap_err();
        assert!(matches!(error, CameraError::NotVideo { .. }), "{error}");
    }
}
