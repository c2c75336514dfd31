//! The client of a bucket: object_store's, with credentials as its clients take them from the environment.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::multipart::MultipartStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use crate::location::Scheme;
use crate::{Error, Location};

/// Retries of one request: with the pauses below about 13 s, so that a store that is not there is told of in time. A piece of
/// work that fails for longer is begun again by whoever asked for it.
const RETRIES: usize = 7;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// After this long no request is tried again.
const PATIENCE: Duration = Duration::from_secs(60);
/// For a whole request; pieces are small enough for it.
const TIMEOUT: Duration = Duration::from_secs(120);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Where Amazon's machines give credentials to those who run on them.
const INSTANCE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(169, 254, 169, 254)), 80);
const INSTANCE_TIMEOUT: Duration = Duration::from_secs(1);

/// The two faces of a client.
#[derive(Debug, Clone)]
pub(crate) struct Objects {
    /// Whole objects, listings and ranges.
    pub(crate) whole: Arc<dyn ObjectStore>,
    /// Objects in parts; none of a web server.
    pub(crate) parts: Option<Parts>,
}

/// [`MultipartStore`] with a name for debugging.
#[derive(Clone)]
pub(crate) struct Parts(pub(crate) Arc<dyn MultipartStore>);

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Parts")
    }
}

impl Objects {
    /// The client of any store that can do both.
    pub(crate) fn of<T: ObjectStore + MultipartStore>(store: T) -> Self {
        let store = Arc::new(store);
        Self {
            whole: store.clone(),
            parts: Some(Parts(store)),
        }
    }

    /// The client of a location's bucket. Nothing is asked of it yet.
    pub(crate) fn connect(location: &Location) -> Result<Self, Error> {
        // Refused where another part of the program has chosen before, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let bucket = &location.bucket;
        let built = match location.scheme {
            Scheme::S3 => {
                let builder = AmazonS3Builder::from_env()
                    .with_bucket_name(bucket)
                    .with_client_options(options(allow_http("AWS_ALLOW_HTTP")))
                    .with_retry(retries());
                check_credentials(location, &builder)?;
                builder.build().map(Self::of)
            }
            Scheme::Gs => GoogleCloudStorageBuilder::from_env()
                .with_bucket_name(bucket)
                .with_client_options(options(allow_http("GOOGLE_ALLOW_HTTP")))
                .with_retry(retries())
                .build()
                .map(Self::of),
            Scheme::Az => MicrosoftAzureBuilder::from_env()
                .with_container_name(bucket)
                .with_client_options(options(allow_http("AZURE_ALLOW_HTTP")))
                .with_retry(retries())
                .build()
                .map(Self::of),
            Scheme::Http | Scheme::Https => HttpBuilder::new()
                .with_url(location.of_bucket().to_string())
                .with_client_options(options(location.scheme == Scheme::Http))
                .with_retry(retries())
                .build()
                .map(|store| Self {
                    whole: Arc::new(store),
                    parts: None,
                }),
        };
        built.map_err(|error| Error::of_store(location, &error))
    }
}

fn options(allow_http: bool) -> ClientOptions {
    ClientOptions::new()
        .with_timeout(TIMEOUT)
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_allow_http(allow_http)
}

fn allow_http(variable: &str) -> bool {
    std::env::var(variable).is_ok_and(|value| matches!(value.to_ascii_lowercase().as_str(), "1" | "true"))
}

fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: FIRST_PAUSE,
            max_backoff: LONGEST_PAUSE,
            base: 2.0,
        },
        max_retries: RETRIES,
        retry_timeout: PATIENCE,
    }
}

/// Refuses at once where nothing could give credentials: to ask an instance that is not there takes the client a minute.
fn check_credentials(location: &Location, builder: &AmazonS3Builder) -> Result<(), Error> {
    use AmazonS3ConfigKey as Key;
    let given = [
        Key::AccessKeyId,
        Key::WebIdentityTokenFile,
        Key::ContainerCredentialsRelativeUri,
        Key::ContainerCredentialsFullUri,
        Key::MetadataEndpoint,
    ];
    let is_public = builder
        .get_config_value(&Key::SkipSignature)
        .is_some_and(|value| value == "true");
    if is_public || given.iter().any(|key| builder.get_config_value(key).is_some()) {
        return Ok(());
    }
    let instance = TcpStream::connect_timeout(&INSTANCE, INSTANCE_TIMEOUT);
    instance.map(drop).map_err(|_| Error::NoCredentials {
        location: location.of_bucket(),
        scheme: location.scheme,
    })
}
