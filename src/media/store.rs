//! The bytes of files: a directory, or a store that speaks S3's protocol.

use std::ops::Range;
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
            std::fs::create_dir_all(&directory)
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
            .with_secret_access_key(media.s3_secret_access_key.expose_secret());
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
