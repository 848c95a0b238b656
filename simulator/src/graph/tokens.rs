//! Tokens: a signup's code is exchanged for one, and one can be looked at.

use super::error::GraphError;
use super::{Call, Reply};
use crate::engine::Engine;
use crate::store::Kind;
use crate::world::{Token, World, real_ms};
use serde_json::json;

/// How long a code works, in milliseconds of real time.
const CODE_LIVES_MS: i64 = 30_000;
/// How long a token is said to work, in seconds of real time.
const TOKEN_LIVES: i64 = 60 * 86_400;

/// The business token for a code.
pub(crate) async fn exchange(engine: &Engine, call: &Call) -> Result<Reply, GraphError> {
    let stale = || GraphError::coded(100, "This authorization code has been used or has expired");
    engine
        .change(|world, ledger| {
            let app = &world.development;
            if call.text("client_id") != Some(&app.app_id)
                || call.text("client_secret") != Some(&app.app_secret)
            {
                return Err(GraphError::coded(101, "Error validating application: id and secret do not fit"));
            }
            let text =
                call.text("code").ok_or_else(|| GraphError::parameter("the parameter code is missing"))?;
            let code = world.codes.remove(text).ok_or_else(stale)?;
            ledger.erase(Kind::Code, "", text);
            if real_ms() - code.made_ms > CODE_LIVES_MS {
                return Err(stale());
            }
            let text = format!("EAA{}", hex::encode(rand::random::<[u8; 40]>()));
            let token = Token { phone: code.phone, issued_at: real_ms() / 1000 };
            ledger.put(Kind::Token, "", &text, &token);
            world.tokens.insert(text.clone(), token);
            Ok(Reply::json(
                &json!({ "access_token": text, "token_type": "bearer", "expires_in": TOKEN_LIVES }),
            ))
        })
        .await?
}

/// What a token may do. The caller shows the app's token or one that works.
pub(crate) fn debug(world: &World, call: &Call) -> Result<Reply, GraphError> {
    if !call.is_app(world) && call.business(world).is_none() {
        return Err(GraphError::token());
    }
    let input = call.text("input_token").ok_or_else(|| GraphError::parameter("input_token is missing"))?;
    let app_id = &world.development.app_id;
    let known = world.tokens.get(input).and_then(|t| Some((t, world.phones.get(&t.phone)?)));
    let Some((token, phone)) = known else {
        return Ok(Reply::json(&json!({ "data": {
            "app_id": app_id, "is_valid": false, "scopes": [],
            "error": { "code": 190, "message": "The access token is unknown or no longer valid" },
        } })));
    };
    let scopes = ["whatsapp_business_management", "whatsapp_business_messaging"];
    let granular: Vec<_> =
        scopes.iter().map(|scope| json!({ "scope": scope, "target_ids": [phone.card.waba_id] })).collect();
    Ok(Reply::json(&json!({ "data": {
        "app_id": app_id, "type": "SYSTEM_USER", "application": "Tandem on a laptop", "is_valid": true,
        "issued_at": token.issued_at, "expires_at": token.issued_at + TOKEN_LIVES,
        "data_access_expires_at": token.issued_at + TOKEN_LIVES,
        "scopes": scopes, "granular_scopes": granular, "user_id": phone.card.business_id,
    } })))
}
