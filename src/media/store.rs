//! The bytes of files: a directory, or a store that speaks S3's protocol.

use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use entity::BlobId;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, WriteMultipart};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use crate::config::Config;

/// Bytes that are written at a time: S3 takes no smaller pieces, a disk needs no larger ones.
const S3_PIECE: usize = 5 << 20;
const DISK_PIECE: usize = 256 << 10;

/// Why bytes could not be written or read.
pub use object_store::Error as StoreError;

/// Where bytes are.
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    piece: usize,
    /// Of a directory.
    directory: Option<PathBuf>,
}

/// Bytes on their way into the store.
pub struct Writing {
    upload: WriteMultipart,
    hash: Sha256,
    size: u64,
}

/// Bytes that are in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// How many.
    pub size: u64,
}

impl Store {
    /// The store that is configured.
    ///
    /// # Errors
    /// When the directory cannot be made, or the settings make no sense.
    pub fn open(config: &Config) -> anyhow::Result<Self> {
        let media = &config.media;
        let Some(place) = media.store.strip_prefix("s3://") else {
            let directory = config.data_dir.join("media");
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&directory)
                .with_context(|| format!("cannot make the directory of files {}", directory.display()))?;
            let objects = LocalFileSystem::new_with_prefix(&directory)
                .with_context(|| format!("cannot use the directory of files {}", directory.display()))?;
            // A file that the database calls ready survives a loss of power.
            let objects = Arc::new(objects.with_fsync(true));
            return Ok(Self { objects, piece: DISK_PIECE, directory: Some(directory) });
        };
        // The client below it needs a provider; `main` has installed it, tests and tools may not have.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(&media.s3_region)
            .with_access_key_id(&media.s3_access_key_id)
            .with_secret_access_key(media.s3_secret_access_key.expose_secret())
            // One at a time, which every such store knows.
            .with_disable_bulk_delete(true);
        if let Some(endpoint) = &media.s3_endpoint {
            builder = builder
                .with_endpoint(endpoint.as_str().trim_end_matches('/'))
                .with_allow_http(endpoint.scheme() == "http");
        }
        let objects = builder.build().context("media.store and the s3 settings beside it make no store")?;
        Ok(Self { objects: Arc::new(PrefixStore::new(objects, prefix)), piece: S3_PIECE, directory: None })
    }

    /// Begins to write. What is dropped before [`Writing::finish`] leaves nothing readable behind.
    ///
    /// # Errors
    /// When the store is away or full.
    pub async fn write(&self, id: BlobId) -> Result<Writing, StoreError> {
        let upload = self.objects.put_multipart(&path(id)).await?;
        let upload = WriteMultipart::new_with_chunk_size(upload, self.piece);
        Ok(Writing { upload, hash: Sha256::new(), size: 0 })
    }

    /// Reads some of the bytes, piece by piece.
    ///
    /// # Errors
    /// When there are none, or the store is away.
    pub async fn read(
        &self,
        id: BlobId,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, StoreError> {
        if range.is_empty() {
            return Ok(futures_util::stream::empty().boxed());
        }
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        Ok(self.objects.get_opts(&path(id), options).await?.into_stream().into_stream().boxed())
    }

    /// Removes bytes, and what a broken-off writing may have left of them. Nothing there is all right.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn delete(&self, id: BlobId) -> Result<(), StoreError> {
        let path = path(id);
        match self.objects.delete(&path).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        if let Some(directory) = &self.directory {
            // So `object_store` names what it has not finished on a disk.
            let unfinished = directory.join(format!("{path}#1"));
            if let Err(error) = tokio::fs::remove_file(&unfinished).await
                && error.kind() != std::io::ErrorKind::NotFound
            {
                return Err(StoreError::Generic { store: "directory", source: error.into() });
            }
        }
        Ok(())
    }
}

impl Writing {
    /// How many bytes it has taken.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Takes more bytes; waits while the store is slower than they come.
    ///
    /// # Errors
    /// When the store is away or full.
    pub async fn put(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.upload.wait_for_capacity(1).await?;
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        self.upload.write(bytes);
        Ok(())
    }

    /// Ends it: the bytes can be read.
    ///
    /// # Errors
    /// When the store is away or full.
    pub async fn finish(self) -> Result<Written, StoreError> {
        self.upload.finish().await?;
        Ok(Written { sha256: hex::encode(self.hash.finalize()), size: self.size })
    }

    /// Gives it up. What that does not take away goes later, by its row.
    pub async fn abort(self) {
        if let Err(error) = self.upload.abort().await {
            tracing::debug!(%error, "a file that was given up could not be removed right away");
        }
    }
}

/// 256 directories, so that none of them is large.
fn path(id: BlobId) -> Path {
    let name = id.0.simple().to_string();
    // The end is random, the beginning is the time.
    let (_, directory) = name.split_at(30);
    Path::from_iter([directory, name.as_str()])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use axum::Router;
    use axum::extract::{DefaultBodyLimit, Query, Request, State};
    use axum::http::{HeaderMap, Method, StatusCode, header};
    use axum::response::{IntoResponse, Response};

    use super::*;
    use crate::ids::PublicId;

    /// What of S3's protocol is spoken: uploads in parts, reading of parts, deleting.
    #[derive(Default)]
    struct S3 {
        parts: Mutex<BTreeMap<(String, u32), Bytes>>,
        objects: Mutex<BTreeMap<String, Vec<u8>>>,
    }

    async fn answer(
        State(s3): State<Arc<S3>>,
        Query(query): Query<BTreeMap<String, String>>,
        headers: HeaderMap,
        request: Request,
    ) -> Response {
        let signed =
            headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert!(signed.starts_with("AWS4-HMAC-SHA256 Credential=key/"), "{signed}");
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let body = axum::body::to_bytes(request.into_body(), 16 << 20).await.unwrap();
        let tagged = |status: StatusCode, body: Vec<u8>| {
            let told = [(header::ETAG, "\"1\""), (header::LAST_MODIFIED, "Sun, 22 Nov 2026 11:00:00 GMT")];
            (status, told, body).into_response()
        };
        let xml = |text: &str| tagged(StatusCode::OK, text.as_bytes().to_vec());
        match (method, query.contains_key("uploads"), query.get("uploadId")) {
            (Method::POST, true, _) => {
                xml("<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><UploadId>u</UploadId>\
                 </InitiateMultipartUploadResult>")
            }
            (Method::PUT, _, Some(_)) => {
                let part = query["partNumber"].parse().unwrap();
                s3.parts.lock().unwrap().insert((path, part), body);
                tagged(StatusCode::OK, Vec::new())
            }
            (Method::POST, _, Some(_)) => {
                let parts = std::mem::take(&mut *s3.parts.lock().unwrap());
                let whole = parts.into_values().flatten().collect();
                s3.objects.lock().unwrap().insert(path, whole);
                xml("<CompleteMultipartUploadResult><ETag>\"1\"</ETag></CompleteMultipartUploadResult>")
            }
            (Method::GET, ..) => {
                let objects = s3.objects.lock().unwrap();
                let Some(whole) = objects.get(&path) else { return StatusCode::NOT_FOUND.into_response() };
                let range = headers[header::RANGE].to_str().unwrap().strip_prefix("bytes=").unwrap();
                let (from, to) = range.split_once('-').unwrap();
                let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
                let mut response = tagged(StatusCode::PARTIAL_CONTENT, whole[from..=to].to_vec());
                let told = format!("bytes {from}-{to}/{}", whole.len()).parse().unwrap();
                response.headers_mut().insert(header::CONTENT_RANGE, told);
                response
            }
            (Method::DELETE, ..) => {
                s3.objects.lock().unwrap().remove(&path);
                StatusCode::NO_CONTENT.into_response()
            }
            (method, ..) => panic!("{method} {path} {query:?}"),
        }
    }

    /// A store in a place, or in that of `address`.
    fn open(directory: &std::path::Path, address: Option<&str>) -> Store {
        let mut environment = vec![("TANDEM_DATA_DIR".to_owned(), directory.display().to_string())];
        for (name, value) in address.into_iter().flat_map(|address| {
            [
                ("STORE", "s3://files/of/tandem"),
                ("S3_ENDPOINT", address),
                ("S3_ACCESS_KEY_ID", "key"),
                ("S3_SECRET_ACCESS_KEY", "secret"),
            ]
        }) {
            environment.push((format!("TANDEM_MEDIA_{name}"), value.to_owned()));
        }
        Store::open(&Config::from_layers(None, &environment).unwrap()).unwrap()
    }

    async fn goes_in_and_out(store: &Store) {
        let id = BlobId::generate();
        let bytes: Vec<u8> = (0..6 << 20).map(|n: u32| n.to_le_bytes()[1]).collect();
        let mut writing = store.write(id).await.unwrap();
        for chunk in bytes.chunks(100_000) {
            writing.put(chunk).await.unwrap();
        }
        let written = writing.finish().await.unwrap();
        assert_eq!((written.size, written.sha256), (6 << 20, hex::encode(Sha256::digest(&bytes))));
        for range in [0..6 << 20, (5 << 20) - 3..(5 << 20) + 3, 7..8, 9..9] {
            let read: Vec<Bytes> = store.read(id, range.clone()).await.unwrap().try_collect().await.unwrap();
            let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
            assert!(read.concat() == bytes[range]);
        }
        store.delete(id).await.unwrap();
        store.delete(id).await.unwrap();
        assert!(matches!(store.read(id, 0..1).await, Err(StoreError::NotFound { .. })));
    }

    #[tokio::test]
    async fn bytes_go_into_a_directory_and_out_again() {
        let dir = tempfile::tempdir().unwrap();
        goes_in_and_out(&open(dir.path(), None)).await;
    }

    #[tokio::test]
    async fn bytes_go_into_an_s3_store_and_out_again() {
        let s3 = Arc::new(S3::default());
        let router = Router::new().fallback(answer).layer(DefaultBodyLimit::disable()).with_state(s3.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        #[expect(clippy::disallowed_methods, reason = "ends with the test")]
        tokio::spawn(async move { axum::serve(listener, router).await });
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), Some(&address));
        goes_in_and_out(&store).await;
        let id = BlobId::generate();
        let mut writing = store.write(id).await.unwrap();
        writing.put(b"x").await.unwrap();
        writing.finish().await.unwrap();
        let names: Vec<String> = s3.objects.lock().unwrap().keys().cloned().collect();
        assert_eq!(names.len(), 1);
        assert!(names[0].starts_with("/files/of/tandem/"), "{names:?}");
    }
}
