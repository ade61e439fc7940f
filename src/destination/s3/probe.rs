//! Whether objects could be written into a bucket.
//!
//! Always true: no object is left behind. An upload in parts is begun under a key of its own and given up: beginning it needs what a
//! put needs, in rights (s3:PutObject, those to the key of `sse`) and in options, and it is no object until it is completed. Some
//! stores begin it in buckets that are not there, so the bucket is asked for first; who may not ask learns it from the upload.

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{ObjectCannedAcl, ServerSideEncryption as Encryption, StorageClass};

use crate::config::model::ServerSideEncryption;
use crate::destination::{AttemptError, Destination, Existence};

use super::S3Destination;
use super::classify::{self, Request};

impl S3Destination {
    /// What was found, a line for people each. `prefix` is what all keys begin with.
    pub async fn probe(&self, prefix: &str) -> Result<Vec<String>, AttemptError> {
        let key = format!("{prefix}hydrant-check-{}", uuid::Uuid::new_v4());
        let limit = self.config.request_timeout;
        self.attempt(&self.asking(&key), limit, async |client| self.look_for_bucket(client, &key).await).await?;
        let upload =
            self.attempt(&self.asking(&key), limit, async |client| self.begin_upload(client, &key).await).await?;
        let given_up = self
            .attempt(&self.asking(&key), limit, async |client| self.give_upload_up(client, &key, &upload).await)
            .await;
        let mut lines = vec!["objects can be written".to_owned()];
        if let Err(error) = given_up {
            lines.push(format!(
                "warning: the upload {upload} of {key}, begun to see that, could not be given up: {error}; it has no data"
            ));
        }
        lines.push(match self.exists(&key).await? {
            Existence::Present | Existence::Absent => "a pending object can be looked for".to_owned(),
            Existence::Unknown => String::from(
                "a pending object cannot be looked for (403 on HEAD): after a crash it is put again under its key; allow \
                 s3:GetObject and s3:ListBucket to change that",
            ),
        });
        Ok(lines)
    }

    async fn look_for_bucket(&self, client: &Client, key: &str) -> Result<(), AttemptError> {
        match client.head_bucket().bucket(&self.config.bucket).send().await {
            Err(error) if classify::status(&error) == Some(404) => Err(self.asking(key).failed(&error)),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    async fn begin_upload(&self, client: &Client, key: &str) -> Result<String, AttemptError> {
        let config = &self.config;
        let mut begin = client
            .create_multipart_upload()
            .bucket(&config.bucket)
            .key(key)
            .set_storage_class(config.storage_class.as_deref().map(StorageClass::from))
            .set_acl(config.acl.as_deref().map(ObjectCannedAcl::from));
        begin = match &config.sse {
            None => begin,
            Some(ServerSideEncryption::S3) => begin.server_side_encryption(Encryption::Aes256),
            Some(ServerSideEncryption::Kms { key_id }) => {
                begin.server_side_encryption(Encryption::AwsKms).ssekms_key_id(key_id)
            }
        };
        let request = self.asking(key);
        let begun = begin.send().await.map_err(|error| request.failed(&error))?;
        begun.upload_id.ok_or_else(|| request.not_an_answer())
    }

    async fn give_upload_up(&self, client: &Client, key: &str, upload: &str) -> Result<(), AttemptError> {
        let give_up = client.abort_multipart_upload().bucket(&self.config.bucket).key(key).upload_id(upload);
        give_up.send().await.map(drop).map_err(|error| self.asking(key).failed(&error))
    }

    fn asking<'a>(&'a self, key: &'a str) -> Request<'a> {
        Request { verb: "an upload to", bucket: &self.config.bucket, key, conditional: false }
    }
}
