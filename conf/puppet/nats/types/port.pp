# @summary A port. Text is accepted because the first version of this module took text.
type Nats::Port = Variant[Stdlib::Port, Pattern[/\A[1-9]\d{0,4}\z/]]
