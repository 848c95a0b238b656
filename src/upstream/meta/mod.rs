//! Meta's Cloud API: the wire of WhatsApp itself.
