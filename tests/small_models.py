"""Random-weight models of the architectures that the paper trains, small enough for seconds."""
import inspect

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

FAMILIES = {"qwen3": (Qwen3Config, Qwen3ForCausalLM), "llama": (LlamaConfig, LlamaForCausalLM),
    "mistral": (MistralConfig, MistralForCausalLM)}
SMALL = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    head_dim=8, max_position_embeddings=4096)
CHAT = ("{% for m in messages %}<{{ m.role }}> {{ m.content }}\n{% endfor %}{% if "
    "add_generation_prompt %}<assistant> {% endif %}")


def byte_tokenizer():
    "One token a byte, with a chat template."
    letters = pre_tokenizers.ByteLevel.alphabet()
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(["<pad>", "<eos>", *sorted(letters)])}, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel(
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>",
        padding_side="left", chat_template=CHAT)


def small_model(family, tokenizer, **changes):
    "A policy of `family` that ends about one text in ten at every token."
    config, cls = FAMILIES[family]
    torch.manual_seed(0)
    policy = cls(config(**SMALL, vocab_size=len(tokenizer), eos_token_id=1, pad_token_id=0, **changes))
    with torch.no_grad():
        policy.model.embed_tokens.weight[:, 0] = 1.0
        policy.lm_head.weight[1, 0] = 0.6
    return policy


def own_completions(trainer, prompt_ids):
    "Completions that TRL itself generates, one of each prompt."
    # TRL 1.9 has no argument `num_generations`
    rest = [1] if "num_generations" in inspect.signature(trainer._generate_single_turn).parameters else []
    return trainer._generate_single_turn(prompt_ids, None, {}, *rest)[0]
