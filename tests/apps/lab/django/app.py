"""A Django project in one file: the ORM's own connections, django.core.cache on Redis, requests."""

import os
import random
import time
from urllib.parse import urlsplit

import django
import requests
from django.conf import settings
from django.http import HttpResponse, JsonResponse
from django.urls import path

url = urlsplit(os.environ["DATABASE_URL"])
settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="only for the lab",
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": url.path.lstrip("/"),
            "USER": url.username,
            "HOST": url.hostname,
            "PORT": url.port,
            "CONN_MAX_AGE": 60,
            "OPTIONS": {"sslmode": "disable"},
        }
    },
    CACHES={
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": os.environ["REDIS_URL"],
            "KEY_FUNCTION": lambda key, prefix, version: key,
        }
    },
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
)
django.setup()

from django.core.cache import cache  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import models  # noqa: E402

session = requests.Session()


class Item(models.Model):
    id = models.BigIntegerField(primary_key=True)
    name = models.TextField()

    class Meta:
        app_label = "lab"
        db_table = "items"
        managed = False


def fetch(number):
    return session.get(f"{os.environ['DOWN_URL']}/down/{number}", timeout=10).json()


def item(number):
    return Item.objects.filter(id=number).values_list("name", flat=True).first()


def cached(number):
    return cache.get(f"item:{number}")


def pause():
    time.sleep(random.uniform(0.001, 0.005))


def work(request, number):
    down = fetch(number)
    pause()
    name = item(number)
    pause()
    return JsonResponse({"id": number, "down": down, "name": name, "cached": cached(number)})


def straight(request, number):
    return JsonResponse(
        {"id": number, "down": fetch(number), "name": item(number), "cached": cached(number)}
    )


urlpatterns = [
    path("healthz", lambda request: HttpResponse("ok")),
    path("paced/<int:number>", work),
    path("await/<int:number>", straight),
]
application = get_wsgi_application()
