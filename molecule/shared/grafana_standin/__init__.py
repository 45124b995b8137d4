"""A small stand-in for Grafana's Debian package, for labs that cannot reach the vendor's repository.

`build` makes the package and a signed apt repository on the controller. `server` is what the package
holds: it reads Grafana's own configuration and provisioning files, refuses broken ones and answers the
few API calls that the tests make. It draws nothing and measures nothing.
"""

VERSION = "0.0.0+standin"
