//! `forebay healthcheck`: is the forebay with this environment well? For containers, which have no curl.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use super::check::refuse;
use crate::config::{Listen, Settings};

/// A forebay that needs longer than this to say that it is well is not.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the proxy listener, or the admin one where `HEALTH_PATH` is off. 0 = well, 1 = not, 78 = bad environment.
pub fn run(vars: impl IntoIterator<Item = (OsString, OsString)>) -> ExitCode {
    let settings = match Settings::from_env(vars) {
        Ok(settings) => settings,
        Err(problems) => return refuse(&problems),
    };
    let (listen, path) = match (&settings.edge.health_path, &settings.admin) {
        (Some(path), _) => (&settings.listen, path.as_str()),
        (None, Some(admin)) => (admin, "/healthz"),
        (None, None) => {
            eprintln!("forebay: HEALTH_PATH and ADMIN_PORT are both off: there is nothing to ask");
            return ExitCode::FAILURE;
        }
    };
    match ask(listen, path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("forebay: {}:{} is not well: {error}", listen.host, listen.port);
            ExitCode::FAILURE
        }
    }
}

fn ask(listen: &Listen, path: &str) -> io::Result<()> {
    let address = (listen.host.as_str(), listen.port).to_socket_addrs()?.next();
    let address = reachable(address.ok_or(io::ErrorKind::AddrNotAvailable)?);
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    if &answer == b"HTTP/1.1 200" {
        return Ok(());
    }
    Err(io::Error::other(format!("it answered {:?}", String::from_utf8_lossy(&answer))))
}

/// "All addresses" is where to listen, not where to connect.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
