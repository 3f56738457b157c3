//! What a mailbox keeps of a message: everything but its number, which is the key.

use audit::Commitment;
use identity::Did;
use types::{Blob, Decode, DecodeError, Encode, Hash, Millis, Reader};
use uuid::Uuid;

use crate::bytes::Bytes;
use crate::frame::{Delivery, Form, Kind, MAX_CONTENT};

/// The version of the stored bytes, their first.
const VERSION: u8 = 1;

/// One message for one device, as stored. The fields are those of [`Delivery`].
///
/// Bytes: version (1), kind (1 message, 2 delivered, 3 read), message id (16), conversation (32),
/// sender (32), sender's device (number), recipient (32), form (1 prekey, 2 ratchet), content (blob of
/// at most [`MAX_CONTENT`]), commitment (option of 32), timestamp, received at (numbers), sealed envelope (option of 32).
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is documented in Delivery")]
pub struct Stored {
    pub kind: Kind,
    pub message_id: Uuid,
    pub conversation_id: Hash,
    pub sender_id: Did,
    pub sender_device_id: u16,
    pub recipient_id: Did,
    pub form: Form,
    pub encrypted_content: Bytes,
    pub content_hash: Option<Commitment>,
    pub timestamp: Millis,
    pub received_at: Millis,
    pub sealed_envelope: Option<Hash>,
}

impl Stored {
    /// What the device is told, under the number that its mailbox gave.
    #[must_use]
    pub fn delivery(self, sequence: u64) -> Delivery {
        Delivery {
            sequence,
            kind: self.kind,
            message_id: self.message_id,
            conversation_id: self.conversation_id,
            sender_id: self.sender_id,
            sender_device_id: self.sender_device_id,
            recipient_id: self.recipient_id,
            form: self.form,
            encrypted_content: self.encrypted_content,
            content_hash: self.content_hash,
            timestamp: self.timestamp,
            received_at: self.received_at,
            sealed_envelope: self.sealed_envelope,
        }
    }
}

impl Encode for Stored {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        self.kind.encode(out);
        self.message_id.as_bytes().encode(out);
        self.conversation_id.encode(out);
        self.sender_id.encode(out);
        self.sender_device_id.encode(out);
        self.recipient_id.encode(out);
        self.form.encode(out);
        types::codec::put_number(self.encrypted_content.0.len() as u64, out);
        out.extend_from_slice(&self.encrypted_content.0);
        self.content_hash.map(|commitment| commitment.0).encode(out);
        self.timestamp.encode(out);
        self.received_at.encode(out);
        self.sealed_envelope.encode(out);
    }
}

impl Decode for Stored {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            VERSION => {}
            found => return Err(DecodeError::Tag { what: "stored message version", found }),
        }
        Ok(Self {
            kind: Kind::decode(reader)?,
            message_id: Uuid::from_bytes(reader.array()?),
            conversation_id: Hash::decode(reader)?,
            sender_id: Did::decode(reader)?,
            sender_device_id: u16::decode(reader)?,
            recipient_id: Did::decode(reader)?,
            form: Form::decode(reader)?,
            encrypted_content: Bytes(Blob::<MAX_CONTENT>::decode(reader)?.to_vec()),
            content_hash: Option::<Hash>::decode(reader)?.map(Commitment),
            timestamp: Millis::decode(reader)?,
            received_at: Millis::decode(reader)?,
            sealed_envelope: Option::decode(reader)?,
        })
    }
}

impl Encode for Kind {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::Message => 1,
            Self::Delivered => 2,
            Self::Read => 3,
        });
    }
}

impl Decode for Kind {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            1 => Ok(Self::Message),
            2 => Ok(Self::Delivered),
            3 => Ok(Self::Read),
            found => Err(DecodeError::Tag { what: "message kind", found }),
        }
    }
}

impl Encode for Form {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::Prekey => 1,
            Self::Ratchet => 2,
        });
    }
}

impl Decode for Form {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            1 => Ok(Self::Prekey),
            2 => Ok(Self::Ratchet),
            found => Err(DecodeError::Tag { what: "content form", found }),
        }
    }
}

#[cfg(test)]
mod tests;
