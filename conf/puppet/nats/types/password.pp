# @summary A text that must not be shown. Plain text is accepted and treated as Sensitive.
type Nats::Password = Variant[String[1], Sensitive[String[1]]]
