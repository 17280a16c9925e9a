# @summary Lines of the broker's configuration language.
# @param values
#   Keys and their values. Those without a value are left out.
# @return A line for each key.
# @api private
function nats::settings(Hash[String[1], Optional[Scalar]] $values) >> Array[String[1]] {
  $given = $values.filter |$key, $value| { $value =~ NotUndef }
  $given.map |$key, $value| {
    $text = $value ? {
      String  => nats::quote($value),
      default => $value,
    }
    "${key}: ${text}"
  }
}
