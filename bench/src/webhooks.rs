//! Signed webhooks as WhatsApp sends them when customers write: of one message each, or of several.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What customers write.
const WORDS: [&str; 8] = [
    "Guten Morgen, haben Sie heute noch einen Tisch für vier Personen frei?",
    "Danke!",
    "Ist die Lieferung schon unterwegs? Ich bin ab 17 Uhr zu Hause und sonst nimmt es die Nachbarin an.",
    "Could you send me the price list again, please?",
    "Ja, passt.",
    "Ich hätte gern zwei Bleche Streuselkuchen für Samstag, eines davon ohne Rosinen, Abholung gegen zehn Uhr. Geht das?",
    "תודה רבה, נתראה מחר",
    "Wo kann ich bei Ihnen parken? 🚗",
];

/// A connected number.
#[derive(Clone, Debug)]
pub(crate) struct Shop {
    pub(crate) client: String,
    pub(crate) number_id: String,
    pub(crate) waba: String,
    /// Digits only.
    pub(crate) number: String,
}

/// Makes requests, each with a message that was never there before.
pub(crate) struct Writer {
    host: SocketAddr,
    key: Hmac<Sha256>,
    shops: Vec<Shop>,
    customers: u64,
    next: u64,
    /// Messages of a request.
    each: u64,
}

/// Before the serial number that each text begins with.
const SERIAL: &[u8] = b"nr ";
/// Digits of the serial number.
const DIGITS: usize = 10;

impl Writer {
    pub(crate) fn new(
        host: SocketAddr,
        secret: &str,
        shops: Vec<Shop>,
        customers: u64,
    ) -> anyhow::Result<Self> {
        let key = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?;
        anyhow::ensure!(!shops.is_empty() && customers > 0, "nobody to write to");
        Ok(Self { host, key, shops, customers, next: 0, each: 1 })
    }

    /// From here on a request has so many messages, all of one number: as WhatsApp does when there is much to tell.
    pub(crate) fn messages(&mut self, each: u64) {
        self.each = each.max(1);
    }

    /// Appends the next request: the serial number of its first message.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>) -> u64 {
        let serial = self.next;
        self.next += self.each;
        let shops = self.shops.len() as u64;
        let at = mix(serial) % shops;
        let Some(shop) = self.shops.get(usize::try_from(at).unwrap_or(0)) else {
            return serial;
        };
        let (mut contacts, mut messages) = (Vec::new(), Vec::new());
        for serial in serial..self.next {
            // Neighbours in time are strangers to each other, as in life.
            let customer = mix(!serial) % (self.customers / shops).max(1) * shops + at;
            let number = format!("49157{:08}", 70_000_000 + customer);
            let user = format!("DE.{:018}", 100_000_000_000_000_000 + customer);
            let id = wamid(&number, serial);
            let words =
                WORDS.get(usize::try_from(mix(!serial) % 8).unwrap_or(0)).copied().unwrap_or_default();
            let seconds = seconds_now();
            contacts.push(format!(
                "{{\"profile\":{{\"name\":\"Kundin {customer}\"}},\"wa_id\":\"{number}\",\"user_id\":\"{user}\"}}"
            ));
            messages.push(format!(
                "{{\"from\":\"{number}\",\"from_user_id\":\"{user}\",\"id\":\"{id}\",\"timestamp\":\"{seconds}\",\
                 \"type\":\"text\",\"text\":{{\"body\":\"nr {serial:010} {words}\"}}}}"
            ));
        }
        let (contacts, messages) = (contacts.join(","), messages.join(","));
        let Shop { number_id, waba, number: own, .. } = shop;
        let body = format!(
            "{{\"object\":\"whatsapp_business_account\",\"entry\":[{{\"id\":\"{waba}\",\"changes\":[{{\"value\":{{\
             \"messaging_product\":\"whatsapp\",\"metadata\":{{\"display_phone_number\":\"{own}\",\
             \"phone_number_id\":\"{number_id}\"}},\"contacts\":[{contacts}],\"messages\":[{messages}]}},\
             \"field\":\"messages\"}}]}}]}}"
        );
        let mut mac = self.key.clone();
        mac.update(body.as_bytes());
        let signature = hex::encode(mac.finalize().into_bytes());
        out.extend_from_slice(
            format!(
                "POST /webhooks/meta HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
                 x-hub-signature-256: sha256={signature}\r\ncontent-length: {}\r\n\r\n{body}",
                self.host,
                body.len()
            )
            .as_bytes(),
        );
        serial
    }

    /// So many requests, made now.
    pub(crate) fn batch(&mut self, count: usize) -> Batch {
        let mut batch = Batch {
            first: self.next,
            each: self.each,
            bytes: Vec::with_capacity(count * 1100),
            ends: Vec::with_capacity(count),
        };
        for _ in 0..count {
            self.write(&mut batch.bytes);
            batch.ends.push(batch.bytes.len());
        }
        batch
    }
}

/// Requests that are ready.
pub(crate) struct Batch {
    first: u64,
    each: u64,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Batch {
    /// The one at this place, with the serial number of its first message.
    pub(crate) fn get(&self, place: usize) -> Option<(u64, &[u8])> {
        let end = *self.ends.get(place)?;
        let start = place.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        Some((self.first + place as u64 * self.each, self.bytes.get(start..end)?))
    }

    /// In which request a message is.
    pub(crate) fn place_of(&self, serial: u64) -> Option<usize> {
        usize::try_from(serial.checked_sub(self.first)? / self.each).ok()
    }

    /// Mean size of what is sent, head and body.
    pub(crate) fn mean_bytes(&self) -> usize {
        self.bytes.len() / self.ends.len().max(1)
    }
}

/// An id as WhatsApp writes it: the other side's number and 32 random digits, in base64.
fn wamid(number: &str, serial: u64) -> String {
    let token =
        format!("{:016X}{:016X}", mix(serial ^ 0x5bd1_e995), mix(serial.rotate_left(32) ^ 0xc0ff_ee00));
    let mut bytes = Vec::with_capacity(64);
    bytes.extend_from_slice(&[0x1c, 0x18, u8::try_from(number.len()).unwrap_or(0)]);
    bytes.extend_from_slice(number.as_bytes());
    bytes.extend_from_slice(&[0x15, 0x02, 0x00, 0x12, 0x18, 32]);
    bytes.extend_from_slice(token.as_bytes());
    bytes.push(0);
    format!("wamid.{}", STANDARD.encode(bytes))
}

/// SplitMix64's finisher: one number in, one out, none twice.
fn mix(serial: u64) -> u64 {
    let mut z = serial.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[expect(clippy::disallowed_methods, reason = "WhatsApp's stamp of a message; nothing waits for it")]
fn seconds_now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The serial number in a message's text, wherever it stands.
pub(crate) fn serial_in(text: &[u8]) -> Option<u64> {
    let start = memchr::memmem::find(text, SERIAL)? + SERIAL.len();
    std::str::from_utf8(text.get(start..start + DIGITS)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_body_is_json_with_a_serial_and_an_id_of_its_own() {
        let shop =
            Shop { client: String::new(), number_id: "1".into(), waba: "2".into(), number: "49301".into() };
        let mut writer = Writer::new(([127, 0, 0, 1], 80).into(), "secret", vec![shop], 500).unwrap();
        let batch = writer.batch(1000);
        let mut ids = std::collections::BTreeSet::new();
        writer.messages(10);
        let many = writer.batch(2);
        assert_eq!(
            (many.get(1).unwrap().0, many.place_of(1009), many.place_of(1010)),
            (1010, Some(0), Some(1))
        );
        for place in 0..1000 {
            let (serial, request) = batch.get(place).unwrap();
            let start = memchr::memmem::find(request, b"\r\n\r\n").unwrap() + 4;
            let body: serde_json::Value = serde_json::from_slice(&request[start..]).unwrap();
            let message = &body["entry"][0]["changes"][0]["value"]["messages"][0];
            assert_eq!(serial_in(message["text"]["body"].as_str().unwrap().as_bytes()), Some(serial));
            assert!(ids.insert(message["id"].as_str().unwrap().to_owned()));
        }
    }
}
