//! Metrics of certificates, CAs and CRLs: days until they expire.

use super::Metric;

pub(crate) static CERT_DAYS: Metric = Metric {
    label: "cert_days",
    help: "days until the broker's certificate expires",
    option: Some("cert"),
    warning: "30:",
    critical: "7:",
    remedy: "renew the certificate and write it to the broker's cert_file",
    ..Metric::PLAIN
};
pub(crate) static CA_DAYS: Metric = Metric {
    label: "ca_days",
    help: "days until the CA of the clients' certificates expires; midge only",
    option: Some("ca"),
    warning: "30:",
    critical: "7:",
    remedy: "renew the CA and give it to the broker and to all clients",
    ..Metric::PLAIN
};
pub(crate) static CRL_DAYS: Metric = Metric {
    label: "crl_days",
    help: "days until the CRL expires; midge only",
    option: Some("crl"),
    warning: "3:",
    critical: "0.5:",
    remedy: "let the CA write a new CRL and copy it to the broker's crl_file",
    ..Metric::PLAIN
};
pub(crate) static ROUTE_CERT_DAYS: Metric = Metric {
    label: "route_cert_days",
    help: "days until the certificate of the route port expires",
    option: Some("route-cert"),
    warning: "30:",
    critical: "7:",
    remedy: "renew the certificate and write it to the cert_file of the block cluster",
    ..Metric::PLAIN
};
pub(crate) static ROUTE_CA_DAYS: Metric = Metric {
    label: "route_ca_days",
    help: "days until the CA of the routes' certificates expires; midge only",
    option: Some("route-ca"),
    warning: "30:",
    critical: "7:",
    remedy: "renew the CA and give it to all members of the cluster",
    ..Metric::PLAIN
};
pub(crate) static ROUTE_CRL_DAYS: Metric = Metric {
    label: "route_crl_days",
    help: "days until the routes' CRL expires; midge only",
    option: Some("route-crl"),
    warning: "3:",
    critical: "0.5:",
    remedy: "let the CA write a new CRL and copy it to the crl_file of the block cluster",
    ..Metric::PLAIN
};
