//! The document of an inference request, JSON or JSON followed by binary tensors, read against the model it is for.

use std::fmt;

use base64::Engine as _;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};

use super::model::Port;

/// No tensor has more elements than this in a JSON document.
const MAX_ELEMENTS: usize = 16 * 1024 * 1024;

/// A request that makes no sense; its text goes to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct BadRequest(pub(super) String);

/// What a request asks for.
#[derive(Debug, PartialEq)]
pub(super) struct Order {
    /// The client's own name for the request, returned to it.
    pub(super) id: Option<String>,
    /// An encoded picture, or elements in little-endian order.
    pub(super) input: Vec<u8>,
    /// So many best classes as text instead of all numbers.
    pub(super) classes: Option<usize>,
    /// Whether the outputs are to come as bytes behind the JSON.
    pub(super) binary: bool,
}

#[derive(Deserialize)]
struct Head {
    id: Option<String>,
    #[serde(default)]
    parameters: HeadParameters,
    inputs: Vec<Input>,
    #[serde(default)]
    outputs: Vec<Output>,
}

#[derive(Default, Deserialize)]
struct HeadParameters {
    #[serde(default)]
    binary_data_output: bool,
}

#[derive(Deserialize)]
struct Input {
    name: String,
    shape: Vec<usize>,
    datatype: String,
    #[serde(default)]
    parameters: InputParameters,
    data: Option<Data>,
}

#[derive(Default, Deserialize)]
struct InputParameters {
    binary_data_size: Option<usize>,
    content_type: Option<String>,
}

#[derive(Deserialize)]
struct Output {
    name: String,
    #[serde(default)]
    parameters: OutputParameters,
}

#[derive(Default, Deserialize)]
struct OutputParameters {
    #[serde(default)]
    binary_data: bool,
    classification: Option<usize>,
}

impl Order {
    /// Reads `body`, whose first `head_length` bytes are JSON (all of it where there is no such header), for a model
    /// that takes `input` and gives `output`.
    pub(super) fn read(
        body: &[u8],
        head_length: Option<usize>,
        input: &Port,
        output: &Port,
    ) -> Result<Self, BadRequest> {
        let length = head_length.unwrap_or(body.len());
        let (head, blob) = body.split_at_checked(length).ok_or_else(|| {
            BadRequest(format!("Inference-Header-Content-Length is {length}, but the body has {} bytes", body.len()))
        })?;
        let head: Head = serde_json::from_slice(head).map_err(|error| BadRequest(format!("the request: {error}")))?;
        let [given] = <[Input; 1]>::try_from(head.inputs)
            .map_err(|inputs| BadRequest(format!("{} inputs: the model takes one, `{}`", inputs.len(), input.name)))?;
        check(&given, input)?;
        let (classes, binary) = match head.outputs.as_slice() {
            [] => (None, head.parameters.binary_data_output),
            [wanted] if wanted.name == output.name => {
                (wanted.parameters.classification.filter(|classes| *classes > 0), wanted.parameters.binary_data)
            }
            [wanted] => return Err(BadRequest(format!("output `{}`: the model gives `{}`", wanted.name, output.name))),
            more => return Err(BadRequest(format!("{} outputs: the model gives one, `{}`", more.len(), output.name))),
        };
        Ok(Self { id: head.id, input: bytes(given, blob, input)?, classes, binary })
    }
}

fn check(given: &Input, input: &Port) -> Result<(), BadRequest> {
    let Port { name, datatype, shape } = input;
    if given.name != *name {
        return Err(BadRequest(format!("input `{}`: the model takes `{name}`", given.name)));
    }
    if given.datatype != *datatype {
        return Err(BadRequest(format!("input `{name}` has datatype {}: it must be {datatype}", given.datatype)));
    }
    // A batch of one picture may be written as [1, 1], as clients of batching servers do.
    let is_one_picture = *datatype == "BYTES" && given.shape == [1, 1];
    if given.shape != *shape && !is_one_picture {
        return Err(BadRequest(format!("input `{name}` has shape {:?}: it must be {shape:?}", given.shape)));
    }
    Ok(())
}

/// The input's bytes, wherever they are.
fn bytes(given: Input, blob: &[u8], input: &Port) -> Result<Vec<u8>, BadRequest> {
    let name = &input.name;
    match (given.parameters.binary_data_size, given.data) {
        (Some(size), None) if size == blob.len() => match input.datatype {
            "BYTES" => only_element(blob, name),
            _ => sized(blob.to_vec(), input),
        },
        (Some(size), None) => {
            let there = blob.len();
            Err(BadRequest(format!("input `{name}` has binary_data_size {size}, but {there} bytes follow the JSON")))
        }
        (None, Some(Data::Texts(texts))) if input.datatype == "BYTES" => {
            picture(&texts, given.parameters.content_type.as_deref(), name)
        }
        (None, Some(Data::Numbers(numbers))) if input.datatype != "BYTES" => sized(encode(&numbers, input)?, input),
        (None, Some(_)) => Err(BadRequest(format!("input `{name}`: its data is not of datatype {}", input.datatype))),
        (Some(_), Some(_)) | (None, None) => {
            Err(BadRequest(format!("input `{name}` needs either `data` or the parameter binary_data_size")))
        }
    }
}

/// The binary form of BYTES: each element behind its length, 32 bits, little-endian.
fn only_element(blob: &[u8], name: &str) -> Result<Vec<u8>, BadRequest> {
    let (length, picture) = blob.split_first_chunk().unwrap_or((&[0; 4], &[]));
    let length = u32::from_le_bytes(*length) as usize;
    if picture.is_empty() || picture.len() != length {
        let there = picture.len();
        return Err(BadRequest(format!("input `{name}`: its element says {length} bytes, and {there} follow")));
    }
    Ok(picture.to_vec())
}

fn picture(texts: &[String], content_type: Option<&str>, name: &str) -> Result<Vec<u8>, BadRequest> {
    let ([text], Some("base64")) = (texts, content_type) else {
        return Err(BadRequest(format!(
            "input `{name}` in JSON is one string in base64, with the parameter \"content_type\": \"base64\"; or send \
             the picture as binary data"
        )));
    };
    let decoded = base64::engine::general_purpose::STANDARD.decode(text);
    decoded.map_err(|error| BadRequest(format!("input `{name}`: {error}")))
}

fn encode(numbers: &[f32], input: &Port) -> Result<Vec<u8>, BadRequest> {
    if input.datatype == "FP32" {
        return Ok(numbers.iter().flat_map(|number| number.to_le_bytes()).collect());
    }
    let byte = |number: &f32| {
        let is_byte = number.fract() == 0.0 && (0.0..=255.0).contains(number);
        is_byte
            .then_some(*number as u8)
            .ok_or_else(|| BadRequest(format!("input `{}`: {number} is no UINT8", input.name)))
    };
    numbers.iter().map(byte).collect()
}

fn sized(bytes: Vec<u8>, input: &Port) -> Result<Vec<u8>, BadRequest> {
    let width = if input.datatype == "FP32" { 4 } else { 1 };
    let expected = input.shape.iter().product::<usize>() * width;
    if bytes.len() != expected {
        let (found, wanted) = (bytes.len() / width, expected / width);
        return Err(BadRequest(format!("input `{}` has {found} elements: its shape has {wanted}", input.name)));
    }
    Ok(bytes)
}

/// `data`, flat or nested, in row-major order.
#[derive(Debug, PartialEq)]
enum Data {
    Numbers(Vec<f32>),
    Texts(Vec<String>),
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut data = Self::Numbers(Vec::new());
        Flatten(&mut data).deserialize(deserializer)?;
        Ok(data)
    }
}

/// Appends a value, or all that is in a list, however deep.
struct Flatten<'a>(&'a mut Data);

impl Flatten<'_> {
    fn number<E: Error>(self, number: f64) -> Result<(), E> {
        match self.0 {
            Data::Numbers(numbers) if numbers.len() < MAX_ELEMENTS => numbers.push(number as f32),
            Data::Numbers(_) => return Err(E::custom(format!("data has more than {MAX_ELEMENTS} elements"))),
            Data::Texts(_) => return Err(E::custom("data mixes numbers and strings")),
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Flatten<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Flatten<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers, strings, or lists of them")
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.number(number)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.number(number as f64)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.number(number as f64)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        match self.0 {
            Data::Texts(texts) => texts.push(text.to_owned()),
            Data::Numbers(numbers) if numbers.is_empty() => *self.0 = Data::Texts(vec![text.to_owned()]),
            Data::Numbers(_) => return Err(E::custom("data mixes numbers and strings")),
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Flatten(self.0))?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn port(name: &str, datatype: &'static str, shape: &[usize]) -> Port {
        Port { name: name.into(), datatype, shape: shape.to_vec() }
    }

    fn read(body: &Value, datatype: &'static str, shape: &[usize]) -> Result<Order, String> {
        let (input, output) = (port("in", datatype, shape), port("out", "FP32", &[1, 3]));
        Order::read(body.to_string().as_bytes(), None, &input, &output).map_err(|error| error.0)
    }

    fn input(data: &Value) -> Value {
        json!({"inputs": [{"name": "in", "shape": [1, 4], "datatype": "UINT8", "data": data}]})
    }

    #[test]
    fn nested_and_flat_data_are_the_same() {
        for data in [json!([1, 2, 3, 255]), json!([[1, 2], [3, 255]]), json!([[[1], [2]], [[3], [255]]])] {
            assert_eq!(read(&input(&data), "UINT8", &[1, 4]).unwrap().input, [1, 2, 3, 255]);
        }
    }

    #[test]
    fn floats_become_little_endian_bytes() {
        let body =
            json!({"id": "7", "inputs": [{"name": "in", "shape": [1, 2], "datatype": "FP32", "data": [0.5, -1]}]});
        let order = read(&body, "FP32", &[1, 2]).unwrap();
        assert_eq!(order.input, [0.5_f32.to_le_bytes(), (-1.0_f32).to_le_bytes()].concat());
        assert_eq!((order.id.as_deref(), order.classes, order.binary), (Some("7"), None, false));
    }

    #[test]
    fn a_picture_comes_in_base64_or_behind_the_json() {
        let json = json!({"inputs": [{"name": "in", "shape": [1], "datatype": "BYTES",
            "parameters": {"content_type": "base64"}, "data": ["/9j/"]}]});
        assert_eq!(read(&json, "BYTES", &[1]).unwrap().input, [0xff, 0xd8, 0xff]);

        let head = json!({"inputs": [{"name": "in", "shape": [1, 1], "datatype": "BYTES",
            "parameters": {"binary_data_size": 7}}], "outputs": [{"name": "out",
            "parameters": {"binary_data": true, "classification": 2}}]})
        .to_string();
        let body = [head.as_bytes(), &[3, 0, 0, 0, 0xff, 0xd8, 0xff]].concat();
        let (input, output) = (port("in", "BYTES", &[1]), port("out", "FP32", &[1, 3]));
        let order = Order::read(&body, Some(head.len()), &input, &output).unwrap();
        assert_eq!(order.input, [0xff, 0xd8, 0xff]);
        assert_eq!((order.classes, order.binary), (Some(2), true));
        let cut = Order::read(&body[..body.len() - 1], Some(head.len()), &input, &output).unwrap_err();
        assert_eq!(cut.0, "input `in` has binary_data_size 7, but 6 bytes follow the JSON");
    }

    #[test]
    fn what_does_not_fit_is_named_with_what_would() {
        let refused = |body: &Value| read(body, "UINT8", &[1, 4]).unwrap_err();
        assert_eq!(refused(&input(&json!([1, 2, 3]))), "input `in` has 3 elements: its shape has 4");
        assert_eq!(refused(&input(&json!([1, 2, 3, 256]))), "input `in`: 256 is no UINT8");
        assert_eq!(refused(&input(&json!([1, 2, 3, 0.5]))), "input `in`: 0.5 is no UINT8");
        assert!(refused(&input(&json!([1, "2"]))).starts_with("the request: data mixes numbers and strings"));
        assert_eq!(refused(&json!({"inputs": []})), "0 inputs: the model takes one, `in`");
        let with = |key: &str, value: Value| {
            let mut body = input(&json!([1, 2, 3, 4]));
            body["inputs"][0][key] = value;
            refused(&body)
        };
        assert_eq!(with("name", "x".into()), "input `x`: the model takes `in`");
        assert_eq!(with("datatype", "FP32".into()), "input `in` has datatype FP32: it must be UINT8");
        assert_eq!(with("shape", json!([4])), "input `in` has shape [4]: it must be [1, 4]");
        assert_eq!(with("data", Value::Null), "input `in` needs either `data` or the parameter binary_data_size");
        assert!(read(&json!(7), "UINT8", &[1, 4]).unwrap_err().starts_with("the request: "));
    }

    #[test]
    fn a_length_past_the_body_is_refused() {
        let (input, output) = (port("in", "BYTES", &[1]), port("out", "FP32", &[1, 3]));
        let error = Order::read(b"{}", Some(3), &input, &output).unwrap_err();
        assert_eq!(error.0, "Inference-Header-Content-Length is 3, but the body has 2 bytes");
    }
}
