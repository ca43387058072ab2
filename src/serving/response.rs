//! The document of an answer to an inference request.

use serde_json::{Value, json};

use super::model::Model;
use super::request::Order;

/// An answer's body.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    /// JSON, and behind it the output's bytes where they were asked for.
    pub(super) body: Vec<u8>,
    /// How much of it is JSON, where bytes follow.
    pub(super) head_length: Option<usize>,
}

/// What `order` gets of `outputs`.
pub(super) fn answer(model: &Model, order: &Order, outputs: &[f32]) -> Answer {
    let texts = order.classes.map(|classes| best(outputs, classes, |index| model.label(index)));
    let (datatype, count, blob) = match &texts {
        Some(texts) => ("BYTES", texts.len(), lengths_and_texts(texts)),
        None => ("FP32", outputs.len(), outputs.iter().flat_map(|output| output.to_le_bytes()).collect()),
    };
    let mut output = json!({ "name": model.output.name, "datatype": datatype, "shape": [1, count] });
    if order.binary {
        output["parameters"] = json!({ "binary_data_size": blob.len() });
    } else {
        output["data"] = texts.map_or_else(|| json!(outputs), |texts| json!(texts));
    }
    let mut head = json!({ "model_name": model.name, "model_version": model.version, "outputs": [output] });
    if let Some(id) = &order.id {
        head["id"] = Value::from(id.as_str());
    }
    let mut body = head.to_string().into_bytes();
    let head_length = order.binary.then_some(body.len());
    if order.binary {
        body.extend(blob);
    }
    Answer { body, head_length }
}

/// The classification extension: `value:index:label` of the best outputs, best first; equal ones by their index.
fn best<'a>(outputs: &[f32], classes: usize, label: impl Fn(usize) -> &'a str) -> Vec<String> {
    let mut order: Vec<usize> = (0..outputs.len()).collect();
    order.sort_by(|a, b| outputs[*b].total_cmp(&outputs[*a]).then(a.cmp(b)));
    order.truncate(classes);
    order.into_iter().map(|index| format!("{:.6}:{index}:{}", outputs[index], label(index))).collect()
}

fn lengths_and_texts(texts: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for text in texts {
        // A label is bounded by its file, far below 4 GiB.
        bytes.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend(text.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_classes_come_first_with_value_index_and_label() {
        let labels = ["cat", "dog", "macaw"];
        assert_eq!(best(&[0.25, 0.5, 0.25], 2, |index| labels[index]), ["0.500000:1:dog", "0.250000:0:cat"]);
        assert_eq!(best(&[0.1], 9, |index| labels[index]).len(), 1);
    }

    #[test]
    fn texts_stand_behind_their_lengths() {
        assert_eq!(lengths_and_texts(&["ab".into(), String::new()]), [2, 0, 0, 0, b'a', b'b', 0, 0, 0, 0]);
    }
}
