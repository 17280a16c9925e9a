//! The daemon.
use midge::{config::Options, monitor, server::lifecycle};
fn main() {
    let mut o = Options::default();
    let a: Vec<String> = std::env::args().collect();
    let mut i = 1;
    while i < a.len() {
        match a[i].as_str() {
            "-p" => {
                o.port = a[i + 1].parse::<i32>().unwrap().max(0) as u16;
                i += 1
            }
            "-m" => {
                o.mon = a[i + 1].parse::<i32>().unwrap().max(0) as u16;
                i += 1
            }
            "--ports_file_dir" => {
                o.ports_file_dir = Some(a[i + 1].clone().into());
                i += 1
            }
            _ => {}
        }
        i += 1
    }
    let rt = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    rt.block_on(async {
        let mut p = lifecycle::prepare(o).unwrap();
        if let Some(listener) = p.monitor.take() {
            let settings = monitor::Settings {
                port: p
                    .server
                    .monitor_address
                    .map_or(0, |address| address.port().into()),
                workers: tokio::runtime::Handle::current().metrics().num_workers(),
                ..Default::default()
            };
            let listener = listener.into_std().unwrap();
            monitor::serve(p.server.clone(), listener, settings).unwrap();
        }
        let s = lifecycle::Signals::listen().unwrap();
        lifecycle::run(p, "midge", s, || ()).await.unwrap();
    });
}
