//! `margay serve` speaks the Open Inference Protocol: to NVIDIA's own client, to curl's kind of JSON, and to those who
//! get it wrong.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};

use margay::classifier::model_directory::ModelDirectory;
use margay_inference::decode::Decoder;
use margay_inference::prepare::Preparer;
use margay_inference::{FrameView, TensorData, rank};
use serde_json::{Value, json};

use crate::support::{program, python};

const PACKAGE: &str = "models/signs/road-signs-1.0.0.tar.gz";
const PICTURE: &str = "models/signs/frames/frame-000.jpg";

/// A running server, ended when this is dropped.
struct Server {
    child: Child,
    address: String,
    /// A closed pipe would end the server as it says what else it serves.
    _output: BufReader<ChildStdout>,
}

impl Server {
    fn start() -> Self {
        let mut command = program::margay();
        let mut child =
            command.args(["serve", "--port", "0", "--model", PACKAGE]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let address = line.strip_prefix("http://").and_then(|rest| rest.split('/').next());
        Self { address: address.expect("the server says where it listens").to_owned(), child, _output: output }
    }

    /// Status and document of a request's answer.
    fn ask(&self, head: &str, body: &[u8]) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = head.replace("ADDRESS", &self.address);
        write!(stream, "{head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
        // A server that refuses may hang up before it has read everything.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap())
    }

    fn get(&self, path: &str) -> (u16, Value) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: ADDRESS"), b"")
    }

    fn infer(&self, model: &str, body: &Value) -> (u16, Value) {
        let head = format!("POST /v2/models/{model}/infer HTTP/1.1\r\nHost: ADDRESS");
        self.ask(&head, body.to_string().as_bytes())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn picture_request(bytes: &[u8]) -> Value {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    json!({
        "id": "first",
        "inputs": [{"name": "image", "shape": [1], "datatype": "BYTES",
            "parameters": {"content_type": "base64"}, "data": [text]}],
        "outputs": [{"name": "probabilities", "parameters": {"classification": 2}}],
    })
}

#[test]
fn a_picture_in_json_is_classified_as_by_the_command_line() {
    let server = Server::start();
    assert_eq!(server.get("/v2/health/ready"), (200, json!({ "ready": true })));
    let (status, metadata) = server.get("/v2/models/road-signs/versions/1.0.0");
    assert_eq!((status, &metadata["inputs"][0]["datatype"]), (200, &json!("BYTES")), "{metadata}");

    let (status, answer) = server.infer("road-signs", &picture_request(&std::fs::read(PICTURE).unwrap()));
    assert_eq!((status, &answer["id"], &answer["model_version"]), (200, &json!("first"), &json!("1.0.0")), "{answer}");
    let best = answer["outputs"][0]["data"][0].as_str().unwrap().to_owned();

    let classified = program::run(&["classify", "--json", "--model", PACKAGE, PICTURE]);
    let expected: Value = serde_json::from_slice(&classified.stdout).unwrap();
    let expected = &expected["predictions"][0];
    let expected = format!(
        "{:.6}:{}:{}",
        expected["probability"].as_f64().unwrap() as f32,
        expected["class"],
        expected["label"].as_str().unwrap()
    );
    assert_eq!(best, expected);
    let (_, statistics) = server.get("/v2/models/road-signs/stats");
    assert_eq!(statistics["model_stats"][0]["inference_count"], 1, "{statistics}");
}

/// The engine makes its own numbers of a picture's pixels, and takes a client's tensor of floats as it is.
#[test]
fn a_tensor_of_floats_gives_the_answer_of_its_picture() {
    let spec = ModelDirectory::open(Path::new("models/signs/package")).unwrap().manifest.model_spec();
    let (mut decoder, mut preparer) = (Decoder::new(), Preparer::new(&spec.input));
    let (bytes, need) = (std::fs::read(PICTURE).unwrap(), preparer.need());
    let tensor = preparer.prepare(decoder.open(&FrameView::jpeg(&bytes), &need).unwrap()).unwrap();
    let TensorData::F32(floats) = tensor.data() else { panic!("the bundled model takes floats") };

    let server = Server::start();
    let (_, metadata) = server.get("/v2/models/road-signs.tensor");
    let input =
        json!({"name": metadata["inputs"][0]["name"], "shape": tensor.shape(), "datatype": "FP32", "data": floats});
    let (status, answer) = server.infer("road-signs.tensor", &json!({ "inputs": [input] }));
    assert_eq!(status, 200, "{answer}");
    let logits = answer["outputs"][0]["data"].as_array().unwrap().iter();
    let mut found: Vec<f32> = logits.map(|logit| logit.as_f64().unwrap() as f32).collect();
    rank::softmax(&mut found);

    let classified = program::run(&["classify", "--json", "--engine", "compiled", "--model", PACKAGE, PICTURE]);
    program::assert_code(&classified, 0);
    let classified: Value = serde_json::from_slice(&classified.stdout).unwrap();
    let predictions = classified["predictions"].as_array().unwrap();
    assert!(predictions.len() > 1, "{classified}");
    for prediction in predictions {
        let class = prediction["class"].as_u64().unwrap() as usize;
        let gap = prediction["probability"].as_f64().unwrap() - f64::from(found[class]);
        assert!(gap.abs() < 1e-6, "{prediction} is not {}", found[class]);
    }
}

#[test]
fn what_cannot_be_served_is_refused_and_the_next_request_is_answered() {
    let server = Server::start();
    let refused = |(status, answer): (u16, Value)| (status, answer["error"].as_str().unwrap().to_owned());
    let (status, error) = refused(server.get("/v2/models/nobody"));
    assert_eq!(
        (status, error.starts_with("no model nobody: there are road-signs version 1.0.0")),
        (404, true),
        "{error}"
    );
    assert_eq!(refused(server.get("/v2/models/road-signs/versions/2")).0, 404);
    assert_eq!(refused(server.get("/v3")).0, 404);
    assert_eq!(refused(server.ask("GET /v2 HTTP/1.1\r\nHost: evil.example", b"")).0, 421);
    let infer = "POST /v2/models/road-signs/infer HTTP/1.1\r\nHost: ADDRESS";
    assert_eq!(refused(server.ask(&format!("{infer}\r\nContent-Encoding: gzip"), b"{}")).0, 415);
    assert_eq!(refused(server.ask(infer, b"{")).0, 400);
    assert_eq!(refused(server.ask(&format!("{infer}\r\nInference-Header-Content-Length: 9"), b"{}")).0, 400);
    let (status, error) = refused(server.infer("road-signs", &picture_request(b"no picture")));
    assert_eq!((status, error.contains("JPEG, PNG or BMP")), (400, true), "{error}");
    let (status, error) = refused(server.infer("road-signs.tensor", &picture_request(b"")));
    assert_eq!((status, error.as_str()), (400, "input `image` has datatype BYTES: it must be FP32"));

    let (status, answer) = server.infer("road-signs", &picture_request(&std::fs::read(PICTURE).unwrap()));
    assert_eq!(status, 200, "{answer}");
}

#[test]
fn a_worker_that_dies_is_replaced_for_the_next_request() {
    let server = Server::start();
    let request = picture_request(&std::fs::read(PICTURE).unwrap());
    assert_eq!(server.infer("road-signs", &request).0, 200);
    let killed = children(server.child.id());
    for worker in &killed {
        program::signal(*worker, rustix::process::Signal::KILL);
    }
    // The first process of a sandbox ends after everything else in there; until then the worker could answer.
    program::wait_until_gone(&killed);
    let (status, answer) = server.infer("road-signs", &request);
    assert_eq!((status, answer["error"].as_str().unwrap().starts_with("the model's worker failed")), (503, true));
    assert_eq!(server.infer("road-signs", &request).0, 200);
}

fn children(parent: u32) -> Vec<u32> {
    let lists = std::fs::read_dir(format!("/proc/{parent}/task")).unwrap();
    let text: String =
        lists.map(|task| std::fs::read_to_string(task.unwrap().path().join("children")).unwrap()).collect();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// Every call of the client that makes sense here; pictures and tensors, by JSON and by bytes.
const TRITON: &str = r#"
import sys
import numpy as np
import tritonclient.http as triton
address, picture, size = sys.argv[1], open(sys.argv[2], "rb").read(), int(sys.argv[3])
client = triton.InferenceServerClient(address)
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("road-signs", "1.0.0")
assert not client.is_model_ready("nobody")
assert client.get_server_metadata()["name"] == "margay"
assert client.get_model_config("road-signs.tensor")["input"][0]["data_type"] == "TYPE_FP32"

def ask(model, tensor, output, binary_in, binary_out, classes=0):
    metadata = client.get_model_metadata(model)
    given = metadata["inputs"][0]
    wanted = triton.InferInput(given["name"], list(tensor.shape), given["datatype"])
    wanted.set_data_from_numpy(tensor, binary_data=binary_in)
    out = triton.InferRequestedOutput(output, binary_data=binary_out, class_count=classes)
    return client.infer(model, [wanted], outputs=[out], request_id="7").as_numpy(output)

image = np.array([picture], dtype=np.object_)
probabilities = ask("road-signs", image, "probabilities", True, True)
assert np.allclose(probabilities, ask("road-signs", image, "probabilities", True, False), atol=1e-6)
assert probabilities.dtype == np.float32 and abs(probabilities.sum() - 1) < 1e-4, probabilities
best = ask("road-signs", image, "probabilities", True, True, classes=3)
value, index, label = best[0][0].decode().split(":")
assert int(index) == probabilities.argmax() and abs(float(value) - probabilities.max()) < 1e-5

output = client.get_model_metadata("road-signs.tensor")["outputs"][0]["name"]
grey = np.zeros((1, 3, size, size), dtype=np.float32)
logits = [ask("road-signs.tensor", grey, output, b, c) for b in (True, False) for c in (True, False)]
assert all(np.allclose(logits[0], other, atol=1e-5) for other in logits), logits
try:
    ask("road-signs.tensor", grey[:, :, 1:], output, True, True)
    raise SystemExit("a tensor of the wrong shape was taken")
except triton.InferenceServerException as error:
    assert "it must be" in str(error), error
counts = client.get_inference_statistics("road-signs")["model_stats"][0]
assert counts["inference_count"] == 3, counts
print(label)
"#;

#[test]
fn nvidias_client_is_served_unmodified() {
    let Some(interpreter) = python::python_with("tritonclient.http, numpy") else { return };
    let server = Server::start();
    let (_, metadata) = server.get("/v2/models/road-signs.tensor");
    let size = metadata["inputs"][0]["shape"][2].to_string();
    let label = python::run(&interpreter, TRITON, &[&server.address, PICTURE, &size]);
    let classified = program::run(&["classify", "--json", "--model", PACKAGE, PICTURE]);
    let expected: Value = serde_json::from_slice(&classified.stdout).unwrap();
    assert_eq!(label.trim(), expected["predictions"][0]["label"]);
}
