//! People, as one client knows them.

pub mod phone;
pub mod queries;
