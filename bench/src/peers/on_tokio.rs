//! The bare proxy on tokio: epoll, one thread.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::exchange::{Exchange, READ_BYTES, Refused};

/// Proxies from `listen` to `to` until `lifetime` is over.
///
/// # Errors
/// When the address cannot be bound.
pub(crate) fn run(listen: SocketAddr, to: SocketAddr, lifetime: Duration) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await?;
        let accept = async {
            loop {
                let (client, _) = listener.accept().await?;
                tokio::spawn(async move {
                    // A connection that fails has nobody left to tell.
                    let _ = serve(client, to).await;
                });
            }
        };
        tokio::time::timeout(lifetime, accept).await.unwrap_or(Ok(()))
    })
}

async fn serve(mut client: TcpStream, to: SocketAddr) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut upstream = TcpStream::connect(to).await?;
    upstream.set_nodelay(true)?;
    let refused = |Refused| io::Error::from(io::ErrorKind::InvalidData);
    let mut exchange = Exchange::default();
    let [mut asked, mut answered, mut out] = [(); 3].map(|()| Vec::with_capacity(READ_BYTES));
    loop {
        while !exchange.request(&mut asked, &mut out).map_err(refused)? {
            upstream.write_all(&out).await?;
            out.clear();
            if client.read_buf(&mut asked).await? == 0 {
                return Ok(());
            }
        }
        upstream.write_all(&out).await?;
        out.clear();
        while !exchange.response(&mut answered, &mut out).map_err(refused)? {
            client.write_all(&out).await?;
            out.clear();
            if upstream.read_buf(&mut answered).await? == 0 {
                return Ok(());
            }
        }
        client.write_all(&out).await?;
        out.clear();
        if !exchange.goes_on() {
            return Ok(());
        }
    }
}
