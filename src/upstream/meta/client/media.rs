//! Files: what is known of one, its bytes, and a new one.

use std::time::Duration;

use reqwest::multipart::{Form, Part};
use reqwest::{Body, Method, Response, Url};
use secrecy::SecretString;
use serde::Deserialize;

use super::{CallError, Meta, bearer, not_sent};

/// What WhatsApp knows of a file.
#[derive(Debug, Deserialize)]
pub struct AboutMedia {
    /// Where its bytes are, for five minutes.
    pub url: String,
    /// Such as `image/jpeg`.
    pub mime_type: Option<String>,
    /// SHA-256 of its bytes.
    pub sha256: Option<String>,
    /// How many bytes.
    pub file_size: Option<u64>,
}

#[derive(Deserialize)]
struct NewMedia {
    id: String,
}

impl Meta {
    /// What is known of a file. Ids of files that came in live a week, those of uploads 30 days.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn media(
        &self,
        phone_number_id: &str,
        token: &SecretString,
        id: &str,
    ) -> Result<AboutMedia, CallError> {
        let request = self.request(Method::GET, &[id], &[("phone_number_id", phone_number_id)]);
        self.call(bearer(request, token)).await
    }

    /// The bytes of a file, which end within `patience`, at the address that [`Meta::media`] told.
    ///
    /// # Errors
    /// Unclear: the address has ended, or is none that a token may be shown to.
    pub async fn download(
        &self,
        url: &str,
        token: &SecretString,
        patience: Duration,
    ) -> Result<Response, CallError> {
        let url = Url::parse(url).map_err(|_| CallError::Unclear("the file has no address".to_owned()))?;
        // The token goes with it.
        if url.scheme() != "https" && url.origin() != self.base.origin() {
            return Err(CallError::Unclear("the file's address is not a safe one".to_owned()));
        }
        let request = bearer(self.http.get(url).timeout(patience), token);
        let response = request.send().await.map_err(not_sent)?;
        match response.status().as_u16() {
            200 => Ok(response),
            status => Err(CallError::Unclear(format!("the file's address answers {status}"))),
        }
    }

    /// Uploads a file: its id. It can be done again without harm.
    ///
    /// # Errors
    /// See [`CallError`].
    #[expect(clippy::too_many_arguments, reason = "a file, as it is sent")]
    pub async fn upload(
        &self,
        phone_number_id: &str,
        token: &SecretString,
        mime_type: &str,
        filename: &str,
        bytes: Body,
        size: u64,
        patience: Duration,
    ) -> Result<String, CallError> {
        let file = Part::stream_with_length(bytes, size)
            .file_name(filename.to_owned())
            .mime_str(mime_type)
            .map_err(|_| CallError::Unclear(format!("{mime_type:?} is no type of a file")))?;
        let form = Form::new()
            .text("messaging_product", "whatsapp")
            .text("type", mime_type.to_owned())
            .part("file", file);
        let request =
            self.request(Method::POST, &[phone_number_id, "media"], &[]).timeout(patience).multipart(form);
        let answer: NewMedia = self.call(bearer(request, token)).await?;
        Ok(answer.id)
    }
}
