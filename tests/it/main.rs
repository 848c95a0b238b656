//! One binary for all tests that go through the public doors: GraphQL, webhooks, the simulator, the command line.
#![expect(unreachable_pub, reason = "a test binary has no outside")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on shall say where")]

mod harness;
mod journey;
