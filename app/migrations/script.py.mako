"""${message}."""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = "${up_revision}"
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None
# True: the release before this one still works on the new schema, so that it can serve on while this one comes
# up, and come back if it does not. The tests run it there. Add first, and remove one release later.
backward_compatible = False


def upgrade() -> None:
    """${message}."""
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    """Take it back."""
    ${downgrades if downgrades else "pass"}
