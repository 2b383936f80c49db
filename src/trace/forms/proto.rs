//! The wire format of protocol buffers, as much of it as a trace needs.

/// A message that is being written.
#[derive(Default)]
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
}

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    /// Writes an integer field.
    pub(super) fn integer(&mut self, field: u32, number: u64) -> &mut Self {
        self.varint(u64::from(field) << 3);
        self.varint(number);
        self
    }

    /// Writes a field of eight bytes.
    pub(super) fn fixed(&mut self, field: u32, number: u64) -> &mut Self {
        self.varint(u64::from(field) << 3 | 1);
        self.bytes.extend_from_slice(&number.to_le_bytes());
        self
    }

    pub(super) fn text(&mut self, field: u32, text: &str) -> &mut Self {
        self.length_delimited(field, text.as_bytes())
    }

    fn length_delimited(&mut self, field: u32, bytes: &[u8]) -> &mut Self {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Writes a message field that `fill` fills.
    pub(super) fn message(&mut self, field: u32, fill: impl FnOnce(&mut Message)) -> &mut Self {
        self.varint(u64::from(field) << 3 | 2);
        let at = self.bytes.len();
        // Most messages are shorter than 128 bytes: their length has one byte.
        self.bytes.push(0);
        fill(self);
        let length = self.bytes.len() - at - 1;
        if length < 0x80 {
            self.bytes[at] = length as u8;
        } else {
            let mut prefix = Message::default();
            prefix.varint(length as u64);
            self.bytes.splice(at..=at, prefix.bytes);
        }
        self
    }
}
