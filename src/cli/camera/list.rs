//! `margay camera list`.

use std::path::PathBuf;

use margay_camera::source::{Installed, programs};
use margay_camera::v4l2::{self, CameraError, FormatOffer, Found, Identity, Places};
use serde::Serialize;

use super::shown;
use crate::cli::exit::{Code, Failed, OrFail};
use crate::cli::output;

/// Sizes shown of a format; `--json` has all.
const SHOWN_SIZES: usize = 8;

/// List the cameras of this machine with their formats, sizes and rates, and the programs that reach others.
///
/// A camera's links under /dev/v4l/by-id stay the same whatever else is plugged in: name one of them in a group
/// document. A camera that may not be opened is listed with what to do about it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:  margay camera list\n          margay camera list --json | jq -r '.path'\nExit codes: 0 a camera was found; 8 there is none, or none that may be opened"
)]
pub(super) struct Arguments {
    /// Also list the nodes that are no cameras, such as the metadata of one
    #[arg(long)]
    all: bool,
    /// Print one JSON document a camera
    #[arg(long)]
    json: bool,
}

/// A node as printed.
#[derive(Debug, Serialize)]
struct Line {
    path: PathBuf,
    links: Vec<PathBuf>,
    name: Option<String>,
    driver: Option<String>,
    bus: Option<String>,
    formats: Vec<FormatOffer>,
    problem: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failed> {
    let found = v4l2::nodes(&Places::default()).or_fail(Code::Source)?;
    let (mut cameras, mut others) = (0, 0);
    for node in &found {
        let looked = node.look();
        let is_other = matches!(looked, Err(CameraError::NotACamera { .. } | CameraError::NotVideo { .. }));
        cameras += usize::from(looked.is_ok());
        others += usize::from(is_other);
        if is_other && !arguments.all {
            continue;
        }
        if arguments.json {
            output::json(&line(node, looked)).or_fail(Code::Failure)?;
            continue;
        }
        for text in lines(node, looked) {
            output::line(&text).or_fail(Code::Failure)?;
        }
    }
    if others > 0 && !arguments.all && !arguments.json {
        output::complain(&format!("{others} other video nodes are no cameras; --all lists them"));
    }
    if found.len() == others {
        output::complain("no camera is here: is it plugged in? In a container its node has to be passed in");
    }
    if !arguments.json {
        for program in programs() {
            output::line(&program_line(&program)).or_fail(Code::Failure)?;
        }
    }
    if cameras == 0 { Err(Failed::said(Code::Source)) } else { Ok(()) }
}

/// A program by which other cameras are reached.
fn program_line(program: &Installed) -> String {
    let Installed { what, program, how } = program;
    match program {
        Some(path) => format!("{what}  {}", path.display()),
        None => format!("{what}  not installed: {how}"),
    }
}

fn line(node: &Found, looked: Result<(Identity, Vec<FormatOffer>), CameraError>) -> Line {
    let Found { path, links, name } = node.clone();
    let nothing = Line { path, links, name, driver: None, bus: None, formats: Vec::new(), problem: None };
    match looked {
        Ok((Identity { name, driver, bus }, formats)) => {
            Line { name: Some(name), driver: Some(driver), bus: Some(bus), formats, ..nothing }
        }
        Err(error) => Line { problem: Some(format!("{:#}", anyhow::Error::from(error))), ..nothing },
    }
}

fn lines(node: &Found, looked: Result<(Identity, Vec<FormatOffer>), CameraError>) -> Vec<String> {
    let path = node.path.display();
    let name = node.name.as_deref().unwrap_or("?");
    let mut lines = match &looked {
        Ok((identity, _)) => vec![format!("{path}  {}", shown(identity))],
        Err(_) => vec![format!("{path}  {name}")],
    };
    lines.extend(node.links.iter().map(|link| format!("  {}", link.display())));
    match looked {
        Ok((_, formats)) => lines.extend(formats.iter().flat_map(format_lines)),
        Err(error) => lines.push(format!("  {:#}", anyhow::Error::from(error))),
    }
    lines
}

fn format_lines(offer: &FormatOffer) -> Vec<String> {
    let FormatOffer { fourcc, description, format, sizes } = offer;
    if format.is_none() {
        return vec![format!("  {fourcc:<4}  {description}: not read here")];
    }
    if sizes.is_empty() {
        return vec![format!("  {fourcc:<4}  sizes untold")];
    }
    let mut lines: Vec<String> =
        sizes.iter().take(SHOWN_SIZES).map(|size| format!("  {fourcc:<4}  {size} at {}", size.rates)).collect();
    if sizes.len() > SHOWN_SIZES {
        lines.push(format!("  {fourcc:<4}  and {} more sizes; --json lists them", sizes.len() - SHOWN_SIZES));
    }
    lines
}

#[cfg(test)]
mod tests {
    use margay_camera::v4l2::{FourCc, Interval, Rates, SizeOffer};

    use super::*;

    fn node() -> Found {
        Found { path: "/dev/video0".into(), links: vec!["/dev/v4l/by-id/usb-HD".into()], name: Some("HD".to_owned()) }
    }

    fn offer(fourcc: &str, sizes: usize) -> FormatOffer {
        let fourcc = FourCc::try_from(fourcc.to_owned()).unwrap();
        let size = SizeOffer {
            least: (640, 480),
            most: (640, 480),
            step: (1, 1),
            rates: Rates::Each(vec![Interval { numerator: 1, denominator: 30 }]),
        };
        FormatOffer { fourcc, description: "text".to_owned(), format: fourcc.format(), sizes: vec![size; sizes] }
    }

    fn camera() -> (Identity, Vec<FormatOffer>) {
        let identity =
            Identity { name: "HD Webcam".to_owned(), driver: "uvcvideo".to_owned(), bus: "usb-1".to_owned() };
        (identity, vec![offer("YUYV", 1), offer("GREY", 0), offer("MJPG", 9), offer("H264", 1)])
    }

    #[test]
    fn a_camera_is_shown_with_its_lasting_name_and_what_it_delivers() {
        let lines = lines(&node(), Ok(camera()));
        assert_eq!(
            lines[..4],
            [
                "/dev/video0  HD Webcam (uvcvideo, usb-1)",
                "  /dev/v4l/by-id/usb-HD",
                "  YUYV  640x480 at 30 fps",
                "  GREY  sizes untold"
            ]
        );
        assert_eq!(
            lines[lines.len() - 2..],
            ["  MJPG  and 1 more sizes; --json lists them", "  H264  text: not read here"]
        );
    }

    #[test]
    fn a_camera_that_may_not_be_opened_is_shown_with_what_to_do() {
        let refused = || Err(CameraError::Permission { path: "/dev/video0".into(), user: 1000 });
        let lines = lines(&node(), refused());
        assert!(lines[0] == "/dev/video0  HD" && lines[2].contains("usermod -aG video $USER"), "{lines:?}");
        let document = serde_json::to_value(line(&node(), refused())).unwrap();
        assert!(document["problem"].as_str().unwrap().contains("user 1000"), "{document}");
    }

    #[test]
    fn scripts_find_path_formats_and_rates() {
        let document = serde_json::to_value(line(&node(), Ok(camera()))).unwrap();
        assert_eq!(document["path"], "/dev/video0");
        assert_eq!(document["formats"][0]["fourcc"], "YUYV");
        assert_eq!(document["formats"][0]["sizes"][0]["most"], serde_json::json!([640, 480]));
        assert_eq!(document["formats"][0]["sizes"][0]["rates"]["each"][0]["denominator"], 30);
        assert_eq!(document["problem"], serde_json::Value::Null);
    }
}
