//! From a decoded image to the model's tensor: one antialiased resampling, then one pass of normalisation.

use fast_image_resize::images::{TypedCroppedImage, TypedCroppedImageMut, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

use crate::decode::RgbView;
use crate::geometry::{Placement, Size};
use crate::input::{InputSpec, ResizeRule};
use crate::normalise::Normaliser;
use crate::tensor::InputTensor;

/// An image that could not be resampled. It does not occur with images that the decoder returned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an image of {width}x{height} cannot be resampled: {reason}")]
pub struct PrepareError {
    /// Width of the part to classify, in pixels.
    pub width: u32,
    /// Height of the part to classify, in pixels.
    pub height: u32,
    /// The resampler's reason.
    pub reason: String,
}

/// Makes tensors of one specification; owns the canvas, the tensor and the resampler's scratch memory.
#[derive(Debug)]
pub struct Preparer {
    rule: ResizeRule,
    size: Size,
    resizer: Resizer,
    normaliser: Normaliser,
    /// RGB of the tensor's width × height.
    canvas: Vec<u8>,
    tensor: InputTensor,
}

impl Preparer {
    /// Takes all memory that frames will need, except the resampler's, which grows with the first frame.
    #[must_use]
    pub fn new(spec: &InputSpec) -> Self {
        let size = Size { width: spec.width, height: spec.height };
        Self {
            rule: spec.resize,
            size,
            resizer: Resizer::new(),
            normaliser: Normaliser::new(spec),
            canvas: vec![0; size.width as usize * size.height as usize * 3],
            tensor: InputTensor::zeroed(spec),
        }
    }

    /// Resizes and normalises one image.
    ///
    /// # Errors
    /// [`PrepareError`] when the resampler refuses the image.
    pub fn prepare(&mut self, image: &RgbView<'_>) -> Result<&InputTensor, PrepareError> {
        let (width, height) = (image.region.width, image.region.height);
        self.resample(image).map_err(|reason| PrepareError { width, height, reason })?;
        self.normaliser.write(&self.canvas, &mut self.tensor);
        Ok(&self.tensor)
    }

    fn resample(&mut self, image: &RgbView<'_>) -> Result<(), String> {
        let region = image.region;
        let Placement { source, target } =
            self.rule.place(Size { width: region.width, height: region.height }, self.size);
        if let ResizeRule::Letterbox { pad, .. } = self.rule {
            self.canvas.fill(pad);
        }
        // The untyped images would have the resampler compiled for every pixel type that it knows.
        let whole = TypedImageRef::<U8x3>::from_buffer(image.size.width, image.size.height, image.pixels)
            .map_err(|error| error.to_string())?;
        let part = TypedCroppedImage::from_ref(&whole, region.x, region.y, region.width, region.height)
            .map_err(|error| error.to_string())?;
        let canvas = TypedImage::<U8x3>::from_buffer(self.size.width, self.size.height, &mut self.canvas)
            .map_err(|error| error.to_string())?;
        let mut field = TypedCroppedImageMut::new(canvas, target.left, target.top, target.width, target.height)
            .map_err(|error| error.to_string())?;
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).crop(
            source.left,
            source.top,
            source.width,
            source.height,
        );
        self.resizer.resize_typed(&part, &mut field, &options).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Decoder;
    use crate::frame::{FrameView, Region};
    use crate::input::{Anchor, Layout};
    use crate::tensor::TensorData;

    fn bytes_of(spec: &InputSpec, frame: &FrameView<'_>) -> Vec<u8> {
        let mut decoder = Decoder::new();
        let mut preparer = Preparer::new(spec);
        match preparer.prepare(&decoder.decode(frame).unwrap()).unwrap().data() {
            TensorData::U8(bytes) => bytes.clone(),
            TensorData::F32(_) => panic!("the test asks for bytes"),
        }
    }

    fn spec(size: u32, resize: ResizeRule) -> InputSpec {
        InputSpec { resize, ..InputSpec::u8_nhwc(size) }
    }

    #[test]
    fn an_image_of_the_tensors_size_is_not_changed() {
        let pixels: Vec<u8> = (0..8 * 8 * 3).map(|n| n as u8).collect();
        let frame = FrameView::rgb24(8, 8, &pixels);
        assert_eq!(bytes_of(&spec(8, ResizeRule::ShortSide { short_side: 8 }), &frame), pixels);
        assert_eq!(bytes_of(&spec(8, ResizeRule::Squash), &frame), pixels);
    }

    #[test]
    fn a_letterbox_fills_its_border() {
        let frame = FrameView::rgb24(4, 2, &[200; 24]);
        let resize = ResizeRule::Letterbox { pad: 114, anchor: Anchor::TopLeft };
        let bytes = bytes_of(&spec(4, resize), &frame);
        assert!(bytes[..24].iter().all(|&byte| byte == 200), "{bytes:?}");
        assert!(bytes[24..].iter().all(|&byte| byte == 114), "{bytes:?}");
    }

    #[test]
    fn pixels_outside_the_region_leave_no_trace() {
        let mut pixels = vec![255; 16 * 16 * 3];
        for y in 4..12 {
            pixels[(y * 16 + 4) * 3..(y * 16 + 12) * 3].fill(10);
        }
        let frame =
            FrameView { region: Some(Region { x: 4, y: 4, width: 8, height: 8 }), ..FrameView::rgb24(16, 16, &pixels) };
        for resize in [ResizeRule::Squash, ResizeRule::ShortSide { short_side: 6 }] {
            assert!(bytes_of(&spec(6, resize), &frame).iter().all(|&byte| byte == 10));
        }
    }

    #[test]
    fn thin_images_are_classified_too() {
        let pixels = vec![50; 3 * 3000];
        for (width, height) in [(1, 3000), (3000, 1)] {
            let frame = FrameView::rgb24(width, height, &pixels);
            let bytes = bytes_of(&spec(32, ResizeRule::ShortSide { short_side: 37 }), &frame);
            assert!(bytes.iter().all(|&byte| byte == 50));
        }
    }

    #[test]
    fn an_oblong_tensor_is_filled_row_by_row() {
        let spec = InputSpec { width: 2, height: 1, layout: Layout::Nchw, ..spec(2, ResizeRule::Squash) };
        let frame = FrameView::rgb24(2, 1, &[1, 2, 3, 4, 5, 6]);
        assert_eq!(bytes_of(&spec, &frame), [1, 4, 2, 5, 3, 6]);
    }
}
