//! Which of a camera's offers to take.

use super::offer::{FormatOffer, Interval, Rates, SizeOffer};
use super::{FourCc, Wish};
use crate::format::PixelFormat;

/// Which format is taken where several would do: those that cost least to turn into RGB and lose least on the way, and
/// grey only where there is no colour.
const PREFERENCE: [PixelFormat; 9] = [
    PixelFormat::Yuyv,
    PixelFormat::Uyvy,
    PixelFormat::Nv12,
    PixelFormat::Nv21,
    PixelFormat::Yuv420,
    PixelFormat::Rgb24,
    PixelFormat::Bgr24,
    PixelFormat::Jpeg,
    PixelFormat::Gray8,
];

/// How far below the rate asked for an offer may be and still count as keeping it: 29.97 is 30.
const SLACK: f64 = 0.98;

/// What to ask the driver for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Choice {
    pub(super) fourcc: FourCc,
    pub(super) format: PixelFormat,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) interval: Interval,
}

/// The best offer: the size nearest to the one wished, a larger before a smaller one; then one that keeps the rate;
/// then the preferred format. `None`: there is none of the formats wished.
pub(super) fn choose(offers: &[FormatOffer], wish: &Wish) -> Option<Choice> {
    let usable = offers.iter().filter_map(|offer| {
        let format = offer.format.filter(|format| wish.format.admits(*format))?;
        Some((offer, format))
    });
    let candidates = usable.flat_map(|(offer, format)| candidates(offer, format, wish));
    candidates.min_by_key(|(rank, _)| *rank).map(|(_, choice)| choice)
}

/// Lower is better, first number first.
type Rank = (u64, u64, usize);

fn candidates(offer: &FormatOffer, format: PixelFormat, wish: &Wish) -> Vec<(Rank, Choice)> {
    let preference = PREFERENCE.iter().position(|known| *known == format).unwrap_or(PREFERENCE.len());
    let candidate = |(width, height), rates: &Rates| {
        let interval = nearest(rates, wish.frames_per_second);
        let rank = (distance((width, height), wish), shortfall(rates, interval, wish), preference);
        (rank, Choice { fourcc: offer.fourcc, format, width, height, interval })
    };
    if offer.sizes.is_empty() {
        return vec![candidate((wish.width, wish.height), &Rates::Untold)];
    }
    offer.sizes.iter().map(|size| candidate(within(size, wish), &size.rates)).collect()
}

/// The size of a range that is nearest to the one wished.
fn within(size: &SizeOffer, wish: &Wish) -> (u32, u32) {
    let fit = |wished: u32, least: u32, most: u32, step: u32| {
        let steps = wished.clamp(least, most).saturating_sub(least).div_ceil(step.max(1));
        let rounded = least.saturating_add(steps.saturating_mul(step.max(1)));
        if rounded > most { most } else { rounded }
    };
    let ((least_width, least_height), (width, height)) = (size.least, size.most);
    (fit(wish.width, least_width, width, size.step.0), fit(wish.height, least_height, height, size.step.1))
}

/// 0 for the size wished; the surplus in pixels for one that covers it; beyond all of those, what is missing.
fn distance((width, height): (u32, u32), wish: &Wish) -> u64 {
    let pixels = |width: u32, height: u32| u64::from(width) * u64::from(height);
    if width >= wish.width && height >= wish.height {
        return pixels(width, height) - pixels(wish.width, wish.height);
    }
    let covered = pixels(width.min(wish.width), height.min(wish.height));
    (1 << 40) + pixels(wish.width, wish.height) - covered
}

/// The slowest rate that is fast enough, or the fastest there is.
fn nearest(rates: &Rates, wished: f64) -> Interval {
    match rates {
        Rates::Untold => Interval::of_rate(wished),
        Rates::Between { shortest, longest } => {
            let (slow, fast) = (longest.rate(), shortest.rate());
            if wished >= fast {
                *shortest
            } else if wished <= slow {
                *longest
            } else {
                Interval::of_rate(wished)
            }
        }
        Rates::Each(intervals) => {
            let by_rate = |a: &&Interval, b: &&Interval| a.rate().total_cmp(&b.rate());
            let enough = intervals.iter().filter(|interval| interval.rate() >= wished * SLACK).min_by(by_rate);
            let chosen = enough.or_else(|| intervals.iter().max_by(by_rate));
            chosen.copied().unwrap_or_else(|| Interval::of_rate(wished))
        }
    }
}

/// 0 where the rate is kept, 1 where the driver does not say, above that the more is missing.
fn shortfall(rates: &Rates, interval: Interval, wish: &Wish) -> u64 {
    if *rates == Rates::Untold {
        return 1;
    }
    let rate = interval.rate();
    if rate >= wish.frames_per_second * SLACK {
        return 0;
    }
    2 + ((wish.frames_per_second - rate) * 1000.0).min(1e9) as u64
}

#[cfg(test)]
mod tests {
    use super::super::fake::webcam;
    use super::*;
    use crate::v4l2::FormatWish;

    fn wish(format: FormatWish, width: u32, height: u32, frames_per_second: f64) -> Wish {
        Wish { format, width, height, frames_per_second }
    }

    /// The choice in short: format, size and rate.
    fn chosen(wish: &Wish) -> String {
        let choice = choose(&webcam(), wish).unwrap();
        format!("{} {}x{} at {}", choice.fourcc, choice.width, choice.height, choice.interval.rate())
    }

    #[test]
    fn the_best_offer_has_the_size_then_the_rate_then_the_cheaper_format() {
        let auto = |width, height, rate| chosen(&wish(FormatWish::Auto, width, height, rate));
        assert_eq!(auto(640, 480, 30.0), "YUYV 640x480 at 30");
        assert_eq!(auto(640, 480, 5.0), "YUYV 640x480 at 15", "the slowest that is fast enough");
        assert_eq!(auto(1280, 720, 30.0), "MJPG 1280x720 at 30", "YUYV has this size at 10 only");
        assert_eq!(auto(1280, 720, 10.0), "YUYV 1280x720 at 10");
        assert_eq!(auto(800, 600, 10.0), "YUYV 1280x720 at 10", "the smallest that covers it");
        assert_eq!(auto(4000, 3000, 5.0), "MJPG 1920x1080 at 30", "the largest there is");
        assert_eq!(auto(640, 480, 60.0), "YUYV 640x480 at 30", "the fastest there is");
        assert_eq!(auto(320, 240, 1.0), "YUYV 640x480 at 15");
    }

    #[test]
    fn a_format_that_is_named_is_taken_or_missed() {
        assert_eq!(chosen(&wish(FormatWish::Mjpeg, 640, 480, 30.0)), "MJPG 640x480 at 30");
        assert_eq!(choose(&webcam(), &wish(FormatWish::Nv12, 640, 480, 30.0)), None);
        assert_eq!(choose(&webcam(), &wish(FormatWish::Raw, 1920, 1080, 30.0)).unwrap().format, PixelFormat::Yuyv);
        assert_eq!(choose(&[], &wish(FormatWish::Auto, 640, 480, 30.0)), None);
    }

    #[test]
    fn what_cannot_be_read_here_is_never_chosen() {
        let only_h264: Vec<_> = webcam().into_iter().filter(|offer| offer.format.is_none()).collect();
        assert_eq!(only_h264.len(), 1);
        assert_eq!(choose(&only_h264, &wish(FormatWish::Auto, 640, 480, 30.0)), None);
    }

    #[test]
    fn a_range_gives_the_nearest_size_on_its_grid_and_any_rate_in_it() {
        let (shortest, longest) =
            (Interval { numerator: 1, denominator: 60 }, Interval { numerator: 1, denominator: 5 });
        let rates = Rates::Between { shortest, longest };
        let size = SizeOffer { least: (48, 32), most: (1000, 1000), step: (16, 1), rates: rates.clone() };
        for (wished, expected) in [((640, 480), (640, 480)), ((641, 5), (656, 32)), ((5000, 5000), (1000, 1000))] {
            assert_eq!(within(&size, &wish(FormatWish::Auto, wished.0, wished.1, 1.0)), expected, "{wished:?}");
        }
        for (wished, expected) in [(1.0, 5.0), (12.5, 12.5), (100.0, 60.0)] {
            assert_eq!(nearest(&rates, wished).rate(), expected);
        }
    }

    #[test]
    fn a_driver_that_tells_no_sizes_is_asked_for_the_one_wished() {
        let mut offers = webcam();
        offers[0].sizes.clear();
        let choice = choose(&offers[..1], &wish(FormatWish::Auto, 800, 600, 12.5)).unwrap();
        assert_eq!((choice.width, choice.height, choice.interval.rate()), (800, 600, 12.5));
    }
}
