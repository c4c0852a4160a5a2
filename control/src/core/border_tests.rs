//! Guards the border of the core: its sources name no socket, clock, thread, random source or `async`.

const FORBIDDEN: &[&str] = &[
    "tokio",
    "async ",
    ".await;",
    ".await?",
    "std::thread",
    "Instant",
    "SystemTime",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "std::fs",
    "std::process",
    "getrandom",
    "from_os_rng",
    "thread_rng",
    "SystemRandom",
];

#[test]
fn the_core_names_nothing_of_the_outside_world() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/core");
    let mut seen = 0;
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().expect("the core's own folder") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("border_tests.rs") {
                seen += 1;
                check(&path);
            }
        }
    }
    assert!(seen > 20, "only {seen} files were found");
}

fn check(path: &std::path::Path) {
    let source = std::fs::read_to_string(path).expect("readable");
    for (number, line) in source.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
        for word in FORBIDDEN {
            assert!(!line.contains(word), "{}:{}: {word} in {line:?}", path.display(), number + 1);
        }
    }
}
