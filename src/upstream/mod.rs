//! Where messages come from and go to. One room per wire protocol; the domain does not know which one it has.

pub mod change;
pub mod http;
pub mod meta;
