//! `saelab serve`: the pages of all runs in a folder over HTTP.

use std::net::SocketAddr;
use std::path::PathBuf;

use pages::serve::Server;

use crate::interrupt::Answering;
use crate::output;

/// Arguments of `saelab serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    /// Folder that holds runs, for example runs
    folder: PathBuf,
    /// Address and port; an address other than 127.0.0.1 lets other machines read the runs
    #[arg(long, default_value = "127.0.0.1:8765")]
    listen: SocketAddr,
}

impl Serve {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let server = Server::bind(&self.folder, self.listen)?;
        output::result(&format!("http://{}/", server.address()))?;
        if !server.address().ip().is_loopback() {
            output::note("serve: other machines can read these runs");
        }
        output::note("serve: Ctrl-C ends it");
        let _answering = Answering::new();
        server.run();
        Ok(())
    }
}
