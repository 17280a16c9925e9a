use super::*;

const NAMES: OptionNames = OptionNames {
    url: "URL",
    socket: "Socket",
    user: "User",
    password: "Password",
    password_file: "PasswordFile",
    token: "Token",
    token_file: "TokenFile",
    ca: "CACert",
    certificate: "CertificateFile",
    key: "CertificateKey",
    insecure: "VerifyPeer",
};

fn refusal(access: Access) -> String {
    match access.check(&NAMES) {
        Err(error) => error.to_string(),
        Ok(place) => panic!("{access:?} is accepted: {place:?}"),
    }
}

fn with(change: impl FnOnce(&mut Access)) -> Access {
    let mut access = Access::default();
    change(&mut access);
    access
}

#[test]
fn combinations_that_cannot_work_are_refused() {
    let secret = || Some(Secret::new("hidden"));
    let file = || Some(PathBuf::from("/f"));
    let user = || Some("u".to_owned());
    let https = || Some("https://h:1".to_owned());
    for (access, reason) in [
        (
            with(|access| {
                access.url = Some("unix:/s".to_owned());
                access.socket = file();
            }),
            "URL unix:… and Socket mean the same",
        ),
        (
            with(|access| access.user = user()),
            "User needs PasswordFile or Password",
        ),
        (
            with(|access| access.password = secret()),
            "a password needs User",
        ),
        (
            with(|access| access.password_file = file()),
            "a password needs User",
        ),
        (
            with(|access| {
                access.user = user();
                access.password = secret();
                access.password_file = file();
            }),
            "Password and PasswordFile exclude",
        ),
        (
            with(|access| {
                access.token = secret();
                access.token_file = file();
            }),
            "Token and TokenFile exclude",
        ),
        (
            with(|access| {
                access.user = user();
                access.token_file = file();
            }),
            "a token needs no User",
        ),
        (
            with(|access| {
                access.user = Some("a:b".to_owned());
                access.password = secret();
            }),
            "User: a colon",
        ),
        (
            with(|access| access.token = Some(Secret::new("hidden ü"))),
            "Token: only visible ASCII",
        ),
        (
            with(|access| access.tls.ca = file()),
            "CACert has no effect here: URL must begin with https://",
        ),
        (
            with(|access| {
                access.url = Some("http://h:1".to_owned());
                access.tls.insecure = true;
            }),
            "VerifyPeer has no effect here",
        ),
        (
            with(|access| {
                access.url = https();
                access.tls.key = file();
            }),
            "CertificateFile and CertificateKey belong together",
        ),
        (
            with(|access| {
                access.url = https();
                access.socket = file();
                access.tls.ca = file();
            }),
            "CACert has no effect here",
        ),
    ] {
        let refusal = refusal(access);
        assert!(refusal.contains(reason), "{refusal}: not {reason}");
        assert!(!refusal.contains("hidden"), "{refusal}");
    }
}

#[test]
fn secrets_are_sent_but_not_shown() {
    let access = with(|access| {
        access.user = Some("me".to_owned());
        access.password = Some(Secret::new("hidden"));
    });
    access.check(&NAMES).expect("complete");
    assert!(!format!("{access:?}").contains("hidden"), "{access:?}");
    let login = access.login().expect("no files");
    let header = login.header.expect("a login");
    assert_eq!(header.text(), "Basic bWU6aGlkZGVu");
    let access = with(|access| access.token = Some(Secret::new("hidden")));
    access.check(&NAMES).expect("complete");
    let header = access.login().expect("no files").header.expect("a login");
    assert_eq!(header.text(), "Bearer hidden");
    assert!(Access::default().login().expect("none").header.is_none());
}

#[test]
fn the_environment_completes_the_login() {
    let all = |name: &str| Some(format!("<{name}>"));
    let login = |mut access: Access, variable: &dyn Fn(&str) -> Option<String>| {
        access.complete_login(variable);
        (access.user, access.password, access.token)
    };
    let token = Some(Secret::new("<MONITOR_TOKEN>"));
    let password = Some(Secret::new("<MONITOR_PASSWORD>"));
    let user = Some("<MONITOR_USER>".to_owned());
    assert_eq!(login(Access::default(), &all), (None, None, token));
    let without_token = |name: &str| all(name).filter(|_| name != "MONITOR_TOKEN");
    let found = login(Access::default(), &without_token);
    assert_eq!(found, (user.clone(), password.clone(), None));
    let given = with(|access| access.user = Some("me".to_owned()));
    let found = login(given, &all);
    assert_eq!(found, (Some("me".to_owned()), password, None));
    let given = with(|access| access.token_file = Some("/f".into()));
    assert_eq!(login(given, &all), (None, None, None));
    assert_eq!(
        login(Access::default(), &|_| Some(String::new())),
        (None, None, None)
    );
}

#[test]
fn addresses_in_urls_have_brackets() {
    assert_eq!(url_of("broker", 1, false), "http://broker:1");
    assert_eq!(url_of("::1", 8222, true), "https://[::1]:8222");
    assert_eq!(url_of("[::1]", 8222, false), "http://[::1]:8222");
}
