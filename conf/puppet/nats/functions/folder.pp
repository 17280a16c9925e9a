# @summary Makes the folder of a file if it is missing. It may belong to another package or
#   module, so it is no resource of type `file`, and it is never changed or removed.
# @param folder
#   The folder.
# @param file
#   The file.
# @api private
function nats::folder(Stdlib::Absolutepath $folder, Stdlib::Absolutepath $file) {
  if $nats::ensure == 'present' {
    ensure_resource('exec', "mkdir -p ${folder}", {
      'creates' => $folder,
      'path'    => ['/usr/bin', '/bin'],
    })
    Exec["mkdir -p ${folder}"] -> File[$file]
  }
}
