//! A TCP echo server: one shard per CPU, each with its own listener.
//!
//! Run it with `cargo run --release --example echo -- 127.0.0.1:7007`, then `nc 127.0.0.1 7007`.

use headwater::net::listener::ListenerGroup;
use headwater::net::options::ListenOptions;
use headwater::runtime::{Listener, Runtime};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7007".into());
    let cpus = headwater::sys::cpu::allowed()?;
    let group = ListenerGroup::bind(&address.parse()?, cpus.len(), &ListenOptions::default())?;
    println!("echoing on {}", group.local_addr());
    let group = std::sync::Mutex::new(group);
    Runtime::new(cpus)?.run(move |shard| {
        let socket = group.lock().unwrap().take(shard.index()).unwrap();
        async move {
            let mut connections = Listener::new(socket.fd).accept();
            while let Ok(stream) = connections.next().await {
                shard.spawn_detached(async move {
                    let mut receiver = stream.receiver();
                    while let Ok(Some(bytes)) = receiver.next().await {
                        if stream.send_all(bytes).await.is_err() {
                            break;
                        }
                    }
                });
            }
        }
    })?;
    Ok(())
}
