//! One binary for all tests that go through the public doors: GraphQL, webhooks, the simulator, the command line. They run on
//! both databases.
#![expect(clippy::needless_pass_by_value, reason = "tests write their values where they are used")]
#![expect(unreachable_pub, reason = "a test binary has no outside")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on shall say where"
)]

mod access;
mod api_only;
mod changes;
mod chats;
mod clients;
mod coexistence_page;
mod control;
mod convergence;
mod crash;
mod deliveries;
mod echoes;
mod harness;
mod imports;
mod journey;
mod lanes;
mod leaving;
mod limits;
mod loads;
mod media;
mod onboarding;
mod people;
mod phone_book;
mod presence;
mod profile;
mod reading;
mod restored;
mod resume;
mod rows;
mod sending;
mod shared;
mod stream;
mod tail;
mod templates;
mod usage;
mod webhooks;
