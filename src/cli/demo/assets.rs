//! What the demo brings along: the bundled package, and pictures that its model has never seen.

/// The package's file name.
pub(in crate::cli) const PACKAGE_NAME: &str = "road-signs-1.0.0.tar.gz";

/// The bundled package (models/README.md).
pub(in crate::cli) const PACKAGE: &[u8] = include_bytes!("../../../models/signs/road-signs-1.0.0.tar.gz");

/// What each picture shows, by file name.
pub(super) const TRUTH: &str = include_str!("../../../models/signs/frames/truth.json");

macro_rules! frames {
    ($($number:literal)*) => {
        &[$((
            concat!("frame-", $number, ".jpg"),
            include_bytes!(concat!("../../../models/signs/frames/frame-", $number, ".jpg")),
        )),*]
    };
}

/// The held-out pictures, in the order of their names.
pub(super) const FRAMES: &[(&str, &[u8])] = frames!(
    "000" "001" "002" "003" "004" "005" "006" "007" "008" "009" "010"
    "011" "012" "013" "014" "015" "016" "017" "018" "019" "020" "021"
    "022" "023" "024" "025" "026" "027" "028" "029" "030" "031" "032"
    "033" "034" "035" "036" "037" "038" "039" "040" "041" "042" "043"
    "044" "045" "046" "047" "048" "049" "050" "051" "052" "053" "054"
    "055" "056" "057" "058" "059"
);
