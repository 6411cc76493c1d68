"""How many keys of its organization's chain a claim is hashed under; each one from before is under the first."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("claims", "0005_hash_keys")]
    operations = [
        migrations.AddField(
            model_name="claim",
            name="key_no",
            field=models.SmallIntegerField(db_default=1, default=1),
        ),
    ]
