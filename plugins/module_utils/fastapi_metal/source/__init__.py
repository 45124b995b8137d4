"""Where the code comes from: a directory, Git, an archive, a build. Controller, but `project`."""
