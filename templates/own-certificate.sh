# Make a key and a certificate that stands for itself, for an address of this machine and for ten years.
# Arguments: address, key, certificate, name. Members of group prometheus read the key. The certificate comes last, so an
# interrupted run is repeated. Several roles run it.
set -eu
umask 077
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=$4" \
  -addext "subjectAltName=IP:$1" -addext basicConstraints=critical,CA:FALSE -addext extendedKeyUsage=serverAuth,clientAuth \
  -keyout "$2.new" -out "$3.new"
chgrp prometheus "$2.new"
chmod 640 "$2.new"
chmod 644 "$3.new"
mv "$2.new" "$2"
mv "$3.new" "$3"
