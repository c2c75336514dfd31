//! Writes small GGUF files.

/// A value of the metadata.
#[derive(Clone)]
pub(crate) enum Meta {
    U32(u32),
    F32(f32),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    I32s(Vec<i32>),
    F32s(Vec<f32>),
    Bools(Vec<bool>),
}

/// A text.
pub(crate) fn text(text: &str) -> Meta {
    Meta::Text(text.to_owned())
}

/// A list of texts.
pub(crate) fn texts(texts: &[&str]) -> Meta {
    Meta::Texts(texts.iter().map(|&text| text.to_owned()).collect())
}

/// A file in the making.
#[derive(Clone)]
pub(crate) struct Writer {
    pub(crate) version: u32,
    pub(crate) alignment: usize,
    pub(crate) pairs: Vec<(String, Meta)>,
    /// Name, shape (outermost first), type and bytes.
    pub(crate) tensors: Vec<(String, Vec<usize>, u32, Vec<u8>)>,
}

impl Writer {
    /// A file of an architecture with the sizes of a model of two blocks: width 8, two heads of 4.
    pub(crate) fn new(architecture: &str) -> Self {
        let mut writer = Self {
            version: 3,
            alignment: 32,
            pairs: Vec::new(),
            tensors: Vec::new(),
        };
        writer.set("general.architecture", text(architecture));
        for (key, value) in [
            ("block_count", 2),
            ("embedding_length", 8),
            ("feed_forward_length", 16),
            ("context_length", 64),
            ("attention.head_count", 2),
        ] {
            writer.set(&format!("{architecture}.{key}"), Meta::U32(value));
        }
        writer
    }

    /// Sets a key, or another value of it.
    pub(crate) fn set(&mut self, key: &str, value: Meta) -> &mut Self {
        match self.pairs.iter_mut().find(|(known, _)| known == key) {
            Some((_, known)) => *known = value,
            None => self.pairs.push((key.to_owned(), value)),
        }
        self
    }

    /// Adds a tensor of single-precision numbers.
    pub(crate) fn tensor(&mut self, name: &str, shape: &[usize], values: &[f32]) -> &mut Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensors.push((name.to_owned(), shape.to_vec(), 0, bytes));
        self
    }

    /// The bytes of the file. The last tensor ends it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.pairs.len() as u64).to_le_bytes());
        for (key, value) in &self.pairs {
            string(&mut out, key);
            put(&mut out, value);
        }
        let mut numbers: Vec<u8> = Vec::new();
        for (name, shape, kind, bytes) in &self.tensors {
            numbers.resize(numbers.len().next_multiple_of(self.alignment), 0);
            string(&mut out, name);
            out.extend((shape.len() as u32).to_le_bytes());
            for size in shape.iter().rev() {
                out.extend((*size as u64).to_le_bytes());
            }
            out.extend(kind.to_le_bytes());
            out.extend((numbers.len() as u64).to_le_bytes());
            numbers.extend(bytes);
        }
        out.resize(out.len().next_multiple_of(self.alignment), 0);
        out.extend(numbers);
        out
    }
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn put(out: &mut Vec<u8>, value: &Meta) {
    let list = |out: &mut Vec<u8>, kind: u32, length: usize| {
        out.extend(9_u32.to_le_bytes());
        out.extend(kind.to_le_bytes());
        out.extend((length as u64).to_le_bytes());
    };
    match value {
        Meta::U32(number) => out.extend([4_u32.to_le_bytes(), number.to_le_bytes()].as_flattened()),
        Meta::F32(number) => out.extend([6_u32.to_le_bytes(), number.to_le_bytes()].as_flattened()),
        Meta::Bool(flag) => {
            out.extend(7_u32.to_le_bytes());
            out.push(u8::from(*flag));
        }
        Meta::Text(text) => {
            out.extend(8_u32.to_le_bytes());
            string(out, text);
        }
        Meta::Texts(texts) => {
            list(out, 8, texts.len());
            texts.iter().for_each(|text| string(out, text));
        }
        Meta::I32s(numbers) => {
            list(out, 5, numbers.len());
            out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        }
        Meta::F32s(numbers) => {
            list(out, 6, numbers.len());
            out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        }
        Meta::Bools(flags) => {
            list(out, 7, flags.len());
            out.extend(flags.iter().map(|&flag| u8::from(flag)));
        }
    }
}
