# @summary Service managers. `redhat` and `freebsd` are from the first version of this module.
type Nats::Service_type = Enum['systemd', 'init', 'upstart', 'redhat', 'freebsd']
