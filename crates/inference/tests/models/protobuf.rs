//! Just enough protocol buffers to write the ONNX files that no exporter would write (onnx.proto3, IR version 8).

/// A message under construction.
#[derive(Default, Clone)]
pub struct Message(Vec<u8>);

impl Message {
    pub fn new() -> Self {
        Self::default()
    }

    /// A field of variable-length integer.
    pub fn int(mut self, number: u64, value: u64) -> Self {
        self.varint(number << 3);
        self.varint(value);
        self
    }

    /// A field of bytes, text, or a message.
    pub fn bytes(mut self, number: u64, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        self.varint(number << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    /// A field of a 32-bit float.
    pub fn float(mut self, number: u64, value: f32) -> Self {
        self.varint(number << 3 | 5);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// ONNX's number for 32-bit floats.
pub const FLOAT: u64 = 1;
/// ONNX's number for unsigned bytes.
pub const UINT8: u64 = 2;
/// ONNX's number for signed bytes.
pub const INT8: u64 = 3;

/// A float tensor at the edge of a graph.
pub fn tensor(name: &str, shape: &[u64]) -> Message {
    tensor_of(FLOAT, name, shape)
}

/// A tensor at the edge of a graph.
pub fn tensor_of(element: u64, name: &str, shape: &[u64]) -> Message {
    let shape = shape.iter().fold(Message::new(), |shape, &axis| shape.bytes(1, Message::new().int(1, axis)));
    let tensor = Message::new().int(1, element).bytes(2, shape);
    Message::new().bytes(1, name).bytes(2, Message::new().bytes(1, tensor))
}

/// A node without attributes.
pub fn node(operator: &str, inputs: &[&str], output: &str) -> Message {
    let node = inputs.iter().fold(Message::new(), |node, input| node.bytes(1, input));
    node.bytes(2, output).bytes(3, output).bytes(4, operator)
}

/// What an attribute holds.
pub enum Value<'a> {
    Int(i64),
    Ints(&'a [i64]),
    Float(f32),
    Text(&'a str),
}

/// A node with attributes.
pub fn node_with(operator: &str, inputs: &[&str], output: &str, attributes: &[(&str, Value<'_>)]) -> Message {
    attributes.iter().fold(node(operator, inputs, output), |node, (name, value)| {
        let attribute = Message::new().bytes(1, name);
        node.bytes(
            5,
            match value {
                Value::Int(value) => attribute.int(3, *value as u64).int(20, 2),
                Value::Ints(values) => {
                    values.iter().fold(attribute, |attribute, &value| attribute.int(8, value as u64)).int(20, 7)
                }
                Value::Float(value) => attribute.float(2, *value).int(20, 1),
                Value::Text(value) => attribute.bytes(4, value).int(20, 3),
            },
        )
    })
}

/// A list of 64-bit integers, such as a shape.
pub fn integers(name: &str, values: &[i64]) -> Message {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Message::new().int(1, values.len() as u64).int(2, 7).bytes(8, name).bytes(9, raw)
}

/// A float tensor with its values, or, where `external` names it, with its values in another file.
pub fn weights(name: &str, shape: &[u64], values: &[f32], external: Option<&str>) -> Message {
    let tensor = shape.iter().fold(Message::new(), |tensor, &axis| tensor.int(1, axis)).int(2, FLOAT).bytes(8, name);
    match external {
        None => tensor.bytes(9, values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>()),
        Some(file) => tensor.bytes(13, Message::new().bytes(1, "location").bytes(2, file)).int(14, 1),
    }
}

/// A single byte, such as the zero point of a quantisation.
pub fn byte(element: u64, name: &str, value: u8) -> Message {
    Message::new().int(2, element).bytes(8, name).bytes(9, [value])
}

/// What a graph is made of.
#[derive(Default)]
pub struct Graph {
    pub inputs: Vec<Message>,
    pub outputs: Vec<Message>,
    pub nodes: Vec<Message>,
    pub weights: Vec<Message>,
}

impl Graph {
    /// The whole file, operator set 13.
    pub fn file(&self) -> Vec<u8> {
        self.file_of(13)
    }

    /// The whole file, of an operator set.
    pub fn file_of(&self, opset: u64) -> Vec<u8> {
        let parts = [(1, &self.nodes), (5, &self.weights), (11, &self.inputs), (12, &self.outputs)];
        let mut graph = Message::new().bytes(2, "test");
        for (number, part) in parts.into_iter().flat_map(|(number, parts)| parts.iter().map(move |part| (number, part)))
        {
            graph = graph.bytes(number, part);
        }
        Message::new().int(1, 8).bytes(7, graph).bytes(8, Message::new().int(2, opset)).0
    }
}
