// NestJS with a controller and a service: pg, ioredis and fetch.
import "reflect-metadata";

import { setTimeout as sleep } from "node:timers/promises";
import { Controller, Get, Inject, Injectable, Module, Param, ParseIntPipe } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { Redis } from "ioredis";
import { Pool } from "pg";

const pause = () => sleep(1 + Math.random() * 4);

@Injectable()
class ItemsService {
  private readonly pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 20 });
  private readonly redis = new Redis(process.env.REDIS_URL as string);

  async down(id: number): Promise<unknown> {
    const response = await fetch(`${process.env.DOWN_URL}/down/${id}`);
    return response.json();
  }

  async name(id: number): Promise<string | null> {
    const { rows } = await this.pool.query(`SELECT name FROM items WHERE id = $1 /* item ${id} */`, [id]);
    return rows[0]?.name ?? null;
  }

  cached(id: number): Promise<string | null> {
    return this.redis.get(`item:${id}`);
  }
}

@Controller()
class ItemsController {
  constructor(@Inject(ItemsService) private readonly items: ItemsService) {}

  @Get("healthz")
  healthz() {
    return "ok";
  }

  @Get("paced/:id")
  async work(@Param("id", ParseIntPipe) id: number) {
    const down = await this.items.down(id);
    await pause();
    const name = await this.items.name(id);
    await pause();
    return { id, down, name, cached: await this.items.cached(id) };
  }

  @Get("await/:id")
  async straight(@Param("id", ParseIntPipe) id: number) {
    const down = await this.items.down(id);
    const name = await this.items.name(id);
    return { id, down, name, cached: await this.items.cached(id) };
  }

  @Get("fan/:id")
  async fan(@Param("id", ParseIntPipe) id: number) {
    const calls = [this.items.down(id), this.items.name(id), this.items.cached(id)];
    const [down, name, cached] = await Promise.all(calls);
    return { id, down, name, cached };
  }
}

@Module({ controllers: [ItemsController], providers: [ItemsService] })
class AppModule {}

async function bootstrap() {
  const app = await NestFactory.create(AppModule, { logger: ["error", "warn"] });
  await app.listen(Number(process.env.PORT), "127.0.0.1");
}

void bootstrap();
