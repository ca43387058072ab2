#[path = "models/shared.rs"]
mod shared;
#[path = "models/protobuf.rs"]
mod protobuf;
use margay_inference::*;
use protobuf::*;
use tract_onnx::prelude::{DatumType, Framework, InferenceFact, InferenceModelExt, IntoRunnable, Tensor, tvec};

#[test]
fn time() {
    let Some(models) = shared::models() else { return };
    let im = ModelSpec { input: InputSpec::imagenet(224), output: OutputSpec::logits() };
    let b = |s| ModelSpec { input: InputSpec::u8_nhwc(s), output: OutputSpec::u8_probabilities() };
    let still = shared::photo(&models, "coral_cat_720p.jpg");
    let yuyv = vec![100u8; 640*480*2];
    for (m, spec) in [("squeezenet1.1_fp32.onnx", im.clone()), ("mobilenetv2_fp32.onnx", im.clone()), ("mobilenetv2-12-qdq.onnx", im.clone()), ("mobilenet_v1_0.25_128_qdq.onnx", b(128)), ("tf2_mobilenet_v2_1.0_224_ptq.onnx", b(224))] {
        let t = std::time::Instant::now();
        let mut p = shared::pipeline(&models, m, &spec);
        let load = t.elapsed();
        let mut rows: Vec<StageTimings> = (0..41).map(|_| p.classify(&still.frame(), 5).unwrap().timings).collect();
        let mut med = |f: fn(&StageTimings) -> u64| { rows.sort_by_key(f); f(&rows[20]) };
        println!("{m} load {load:?} jpeg720 decode {} resize {} inf {} post {}", med(|t| t.decode_us), med(|t| t.resize_us), med(|t| t.inference_us), med(|t| t.postprocess_us));
        let f = FrameView { format: PixelFormat::Yuyv, width: 640, height: 480, stride: 1280, region: None, bytes: &yuyv };
        let mut rows: Vec<StageTimings> = (0..11).map(|_| p.classify(&f, 5).unwrap().timings).collect();
        let mut med = |f: fn(&StageTimings) -> u64| { rows.sort_by_key(f); f(&rows[5]) };
        println!("   yuyv640 decode {} resize {}", med(|t| t.decode_us), med(|t| t.resize_us));
    }
}

#[test]
fn unguarded() {
    let nodes = vec![node("Softmax", &["real"], "scores")];
    let mut g = Graph { inputs: vec![tensor_of(UINT8, "image", &[1, 1, 1, 3])], outputs: vec![tensor_of(UINT8, "classes", &[1, 3])],
        nodes: vec![node("Flatten", &["image"], "flat"), node("DequantizeLinear", &["flat", "one", "zero"], "real"), node("QuantizeLinear", &["scores", "step", "zero"], "classes")],
        weights: vec![weights("one", &[], &[1.0], None), weights("step", &[], &[1.0 / 256.0], None), byte(UINT8, "zero", 0), byte(INT8, "middle", 128)] };
    g.nodes.splice(2..2, nodes);
    let f = g.file();
    let m = tract_onnx::onnx().with_ignore_value_info(true).with_ignore_output_shapes(true).model_for_read(&mut &f[..]).unwrap().with_input_fact(0, InferenceFact::dt_shape(DatumType::U8, [1usize,1,1,3])).unwrap().into_optimized();
    match m { Ok(m) => println!("UNGUARDED {:?}", m.into_runnable().unwrap().run(tvec!(Tensor::from_shape(&[1usize,1,1,3], &[1u8,2,0]).unwrap().into())).unwrap()), Err(e) => println!("UNGUARDED {e:?}") }
}
