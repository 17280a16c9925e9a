# @summary Manual pages, and completions for bash, of programs that no package brings.
# @param manuals
#   The pages, such as `midge.8`.
# @param completions
#   The programs that are completed.
# @api private
define nats::documents (
  Array[String[1]] $manuals,
  Array[String[1]] $completions = [],
) {
  assert_private()

  $pages = $manuals.map |$page| {
    ["${nats::man_dir}/man${page[-1]}", $page, "${nats::man_source}/${page}"]
  }
  $scripts = $completions.map |$program| {
    [$nats::completions_dir, $program, "${nats::completions_source}/${program}"]
  }

  ($pages + $scripts).each |$document| {
    [$folder, $file, $source] = $document
    file { "${folder}/${file}":
      ensure => $nats::file_ensure,
      owner  => 'root',
      group  => 'root',
      mode   => '0644',
      source => $source,
    }
    nats::folder($folder, "${folder}/${file}")
  }
}
