//! People, as one client knows them.

pub mod phone;
pub mod queries;
pub mod resolve;
