# @summary Name of a user, a group or a service.
type Nats::Name = Pattern[/\A[A-Za-z0-9_][A-Za-z0-9_.@-]*\z/]
